// Communication beside compute, shown by spans over a transport that sleeps, not by time on few
// cores.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "dist/unit_store.h"
#include "tests/dist/grad_fixture.h"
#include "tests/dist/ranks.h"

namespace blockstep {
namespace {

using namespace std::chrono_literals;

// "Compute" that lasts until the communicator has begun `calls` calls: if communication were not
// beside compute but after it, this would wait in vain. On the CPU backend it runs on the caller's
// thread.
void ComputeUntil(int64_t calls, Communicator& group, Stream& compute, Tracer& tracer,
                  std::string name) {
  OnHost(compute).Run([&group, &tracer, calls, name = std::move(name)] {
    ScopedSpan span(&tracer, "compute", name);
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (group.progress().sequence < calls && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(1ms);
    }
    std::this_thread::sleep_for(5ms);
  });
}

const TraceSpan& Find(const std::vector<TraceSpan>& spans, const std::string& name) {
  const auto it =
      std::find_if(spans.begin(), spans.end(), [&](const TraceSpan& s) { return s.name == name; });
  static const TraceSpan kNone;
  if (it == spans.end()) ADD_FAILURE() << "no span " << name;
  return it == spans.end() ? kNone : *it;
}

// Each `first[i]` has begun when `second[i]` ends; and some do run at the same time. (Not all: this
// thread may be off the processor for as long as a call sleeps.)
void ExpectBeside(const std::vector<TraceSpan>& spans, const std::vector<std::string>& first,
                  const std::vector<std::string>& second) {
  int64_t shared = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    const TraceSpan &a = Find(spans, first[i]), &b = Find(spans, second[i]);
    EXPECT_LT(a.begin_ns, b.end_ns) << first[i] << ", " << second[i];
    shared += std::max<int64_t>(0, std::min(a.end_ns, b.end_ns) - std::max(a.begin_ns, b.begin_ns));
  }
  EXPECT_GT(shared, 0);
}

TEST(Overlap, GatherOfTheNextLayerBesideComputeOfThisOne) {
  const TensorTable table = TinyTable(Tie::kNo);
  const Backend backend = PlainCpu();
  Tracer tracers[2];
  RunPairs(2, {.call_sleep = 20ms, .tracers = {&tracers[0], &tracers[1]}},
           [&](const RankGroup& group) {
             Tracer& tracer = tracers[group.rank()];
             ThreadPool pool(1);
             auto compute = backend.device.new_compute_stream("compute", &pool, 0);
             Arena arena = Arena::Reserve(backend, 8 << 20).value();
             auto store = UnitStore::Create({.table = &table,
                                             .backend = &backend,
                                             .group = group,
                                             .pinned = std::vector<char>(table.units.size(), 0),
                                             .max_tokens = 8,
                                             .tracer = &tracer},
                                            arena)
                              .value();
             for (int unit = 1; unit <= 4; ++unit) {
               ASSERT_TRUE(store->Acquire(unit, *compute).ok());
               ASSERT_TRUE(store->Prefetch(unit + 1).ok());
               // Gathers are calls 1, 2, ...: that of layer `unit` was call `unit`.
               ComputeUntil(unit + 1, *group.data, *compute, tracer,
                            "compute " + table.units[unit].name);
               ASSERT_TRUE(store->Release(unit, *compute).ok());
             }
             ASSERT_TRUE(group.data->Synchronize().ok());
           });
  for (const Tracer& tracer : tracers) {
    std::vector<std::string> gathers, computes;
    for (int unit = 1; unit <= 4; ++unit) {
      gathers.push_back("gather " + table.units[unit + 1].name);
      computes.push_back("compute " + table.units[unit].name);
    }
    const std::vector<TraceSpan> spans = tracer.spans();
    ExpectBeside(spans, gathers, computes);
    // The first gather has nothing to hide behind, and the trace says that compute stood still.
    const TraceSpan& wait = Find(spans, "wait for gather");
    EXPECT_LT(wait.begin_ns, Find(spans, "gather layer 0").end_ns);
  }
}

TEST(Overlap, ReductionOfAnEntryBesideTheRestOfBackward) {
  const TensorTable table = TinyTable(Tie::kNo);
  const ActiveSet set{{WholeTensor(table, 2), WholeTensor(table, 6), WholeTensor(table, 10)}};
  const GradCase cases[] = {
      {.slots = 2},
      {.accumulation = GradAccumulation::kSharded, .slots = 2},
      {.numerics = Numerics::kSlotExact, .slots = 2},
  };
  for (const GradCase& c : cases) {
    Tracer tracers[2];
    RunRanks(2, {.call_sleep = 20ms, .tracers = {&tracers[0], &tracers[1]}},
             [&](Communicator& group) {
               Tracer& tracer = tracers[group.rank()];
               GradRank rank(table, c, PlainCpu(), group);
               rank.Begin(set);
               rank.Step(0, [&](int entry) {
                 // Entries go 2, 1, 0, a call each.
                 ComputeUntil(2 - entry, group, rank.compute(), tracer,
                              "compute " + table.tensors[set.entries[entry].tensor].name);
               });
               (void)rank.Reduced();
             });
    const auto name = [&](int e) { return table.tensors[set.entries[e].tensor].name; };
    for (const Tracer& tracer : tracers) {
      ExpectBeside(tracer.spans(), {"reduce " + name(2), "reduce " + name(1)},
                   {"compute " + name(1), "compute " + name(0)});
    }
  }
}

}  // namespace
}  // namespace blockstep
