// Communication beside compute, shown by spans over a transport that sleeps, not by time on few
// cores.
#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <thread>

#include "dist/unit_store.h"
#include "tests/dist/grad_fixture.h"
#include "tests/dist/ranks.h"

namespace blockstep {
namespace {

using namespace std::chrono_literals;

int64_t Overlap(const std::vector<TraceSpan>& spans, const std::string& a, const std::string& b) {
  int64_t shared = 0;
  for (const TraceSpan& x : spans) {
    for (const TraceSpan& y : spans) {
      if (x.name != a || y.name != b) continue;
      shared +=
          std::max<int64_t>(0, std::min(x.end_ns, y.end_ns) - std::max(x.begin_ns, y.begin_ns));
    }
  }
  return shared;
}

// "Compute" of 60 ms that leaves a span; on the CPU backend it runs on the caller's thread. Ranks
// start it together: on a busy machine one may be that late, and a collective waits for the last.
using Together = std::barrier<>;
void Compute(Stream& compute, Tracer& tracer, Together& together, std::string name) {
  together.arrive_and_wait();
  compute.Run([&tracer, name = std::move(name)] {
    ScopedSpan span(&tracer, "compute", name);
    std::this_thread::sleep_for(60ms);
  });
}

constexpr int64_t kMs = 1'000'000;

TEST(Overlap, GatherOfTheNextLayerBesideComputeOfThisOne) {
  const TensorTable table = TinyTable(Tie::kNo);
  const Backend backend = PlainCpu();
  Tracer tracers[2];
  Together together(2);
  RunRanks(2, {.call_sleep = 20ms, .tracers = {&tracers[0], &tracers[1]}},
           [&](Communicator& group) {
             Tracer& tracer = tracers[group.rank()];
             ThreadPool pool(1);
             auto compute = backend.device.new_compute_stream("compute", &pool, 0);
             Arena arena = Arena::Reserve(backend, 8 << 20).value();
             auto store = UnitStore::Create({.table = &table,
                                             .backend = &backend,
                                             .group = &group,
                                             .pinned = std::vector<char>(table.units.size(), 0),
                                             .max_tokens = 8,
                                             .tracer = &tracer},
                                            arena)
                              .value();
             for (int unit = 1; unit <= 4; ++unit) {
               ASSERT_TRUE(store->Acquire(unit, *compute).ok());
               ASSERT_TRUE(store->Prefetch(unit + 1).ok());
               Compute(*compute, tracer, together, "compute " + table.units[unit].name);
               ASSERT_TRUE(store->Release(unit, *compute).ok());
             }
             ASSERT_TRUE(group.stream().Synchronize().ok());
           });
  for (const Tracer& tracer : tracers) {
    const std::vector<TraceSpan> spans = tracer.spans();
    for (int unit = 1; unit <= 4; ++unit) {
      const std::string gather = "gather " + table.units[unit + 1].name;
      EXPECT_GE(Overlap(spans, gather, "compute " + table.units[unit].name), 10 * kMs) << gather;
    }
    // The first gather has nothing to hide behind; the others do not make compute wait as long.
    int64_t waited = 0;
    for (const TraceSpan& s : spans) {
      if (s.name == "wait for gather") waited += s.end_ns - s.begin_ns;
    }
    EXPECT_GE(waited, 10 * kMs);
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
    Together together(2);
    RunRanks(2, {.call_sleep = 20ms, .tracers = {&tracers[0], &tracers[1]}},
             [&](Communicator& group) {
               Tracer& tracer = tracers[group.rank()];
               GradRank rank(table, c, PlainCpu(), group);
               rank.Begin(set);
               rank.Step(0, [&](int entry) {
                 Compute(rank.compute(), tracer, together,
                         "compute " + table.tensors[set.entries[entry].tensor].name);
               });
               (void)rank.Reduced();
             });
    for (const Tracer& tracer : tracers) {
      const std::vector<TraceSpan> spans = tracer.spans();
      for (int e = 2; e >= 1; --e) {
        const std::string reduce = "reduce " + table.tensors[set.entries[e].tensor].name;
        const std::string later = "compute " + table.tensors[set.entries[e - 1].tensor].name;
        EXPECT_GE(Overlap(spans, reduce, later), 10 * kMs) << reduce;
      }
    }
  }
}

}  // namespace
}  // namespace blockstep
