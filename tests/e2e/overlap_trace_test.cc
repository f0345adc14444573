// A whole step over a transport that sleeps: communication beside compute, in both directions, by
// the order of what the trace shows and not by time on few cores.
//
// Kernels of the traced step wait until every call that was issued before them has begun. So a call
// that could run beside a piece of compute has begun before that piece ends, whatever the load of
// the machine; one that is issued too late, or behind something that waits for compute, has not.
// While compute waits for communication no kernel runs: time that calls and kernels share is
// overlap.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "core/backends/backends.h"
#include "core/base/str.h"
#include "core/device/host_stream.h"
#include "tests/e2e/engine_harness.h"

namespace blockstep::testing {
namespace {

using namespace std::chrono_literals;

constexpr int kRanks = 2, kLayers = 4;

// What kernels of this rank's thread look at; null: they just run.
struct Traced {
  Communicator* data = nullptr;
  Tracer* tracer = nullptr;
};
thread_local Traced traced;

void MatmulAfterIssuedCallsBegan(Stream& stream, const MatmulArgs& args) {
  OnHost(stream).Run([] {
    if (traced.tracer == nullptr) return;
    ScopedSpan span(traced.tracer, "kernel", "matmul");
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (traced.data->progress().sequence < traced.data->bytes_sent().calls &&
           std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(100us);
    }
    std::this_thread::sleep_for(500us);
  });
  CpuBackend().kernels->matmul(stream, args);
}

Backend WaitingBackend() {
  static const KernelTable table = [] {
    KernelTable k = *CpuBackend().kernels;
    k.matmul = MatmulAfterIssuedCallsBegan;
    return k;
  }();
  Backend backend = CpuBackend();
  backend.kernels = &table;
  return backend;
}

// The spans of one step of one rank.
class StepTrace {
 public:
  explicit StepTrace(std::vector<TraceSpan> spans) : spans_(std::move(spans)) {
    std::sort(spans_.begin(), spans_.end(),
              [](const TraceSpan& a, const TraceSpan& b) { return a.begin_ns < b.begin_ns; });
  }

  std::vector<const TraceSpan*> All(const std::string& start) const {
    std::vector<const TraceSpan*> found;
    for (const TraceSpan& s : spans_) {
      if (s.name.compare(0, start.size(), start) == 0) found.push_back(&s);
    }
    return found;
  }
  const TraceSpan& The(const std::string& name, size_t occurrence = 0) const {
    static const TraceSpan kNone;
    const std::vector<const TraceSpan*> found = All(name);
    if (occurrence >= found.size()) {
      ADD_FAILURE() << "no " << (occurrence == 0 ? "" : "other ") << "span " << name;
      return kNone;
    }
    return *found[occurrence];
  }
  // Time that `calls` and kernels have in common.
  int64_t BesideKernels(const std::vector<const TraceSpan*>& calls) const {
    int64_t shared = 0;
    for (const TraceSpan* c : calls) {
      for (const TraceSpan* k : All("matmul")) {
        shared += std::max<int64_t>(
            0, std::min(c->end_ns, k->end_ns) - std::max(c->begin_ns, k->begin_ns));
      }
    }
    return shared;
  }

 private:
  std::vector<TraceSpan> spans_;
};

struct OverlapCase {
  const char* name;
  Numerics numerics = Numerics::kFast;
  GradAccumulation accumulation = GradAccumulation::kLocal;
  bool pinned = false;
};
void PrintTo(const OverlapCase& c, std::ostream* out) { *out << c.name; }

std::vector<StepTrace> TraceStep(const OverlapCase& c) {
  Tracer tracers[kRanks];
  const Backend backend = WaitingBackend();
  LlamaConfig model = TinyLlama(false);
  model.layers = kLayers;
  int64_t begin_ns[kRanks] = {};
  RunSpec spec{.ranks = kRanks,
               .pinned = std::vector<char>(c.pinned ? kLayers + 2 : 0, 1),
               .policy = {.name = "full"},
               .steps = 2,
               .slots = kRanks,
               .tokens = 16,
               .numerics = c.numerics,
               .accumulation = c.accumulation,
               .own_backend = &backend,
               .call_sleep_us = 2000,
               .model = model,
               .tracers = {&tracers[0], &tracers[1]}};
  // The second step is traced: buffers are carved by then.
  spec.after_step = [&](int rank, StepEngine&, const RankGroup& group, Arena&,
                        const StepResult& r) {
    traced = r.report.step == 0 ? Traced{group.data, &tracers[rank]} : Traced{};
    if (r.report.step == 0) begin_ns[rank] = Tracer::Now();
  };
  (void)RunTraining(spec);
  std::vector<StepTrace> traces;
  for (int r = 0; r < kRanks; ++r) {
    std::vector<TraceSpan> spans = tracers[r].spans();
    std::erase_if(spans, [&](const TraceSpan& s) { return s.begin_ns < begin_ns[r]; });
    traces.emplace_back(std::move(spans));
  }
  return traces;
}

std::string Gather(int64_t layer) { return Cat("gather layer ", layer); }
std::string Reduce(int64_t layer) { return Cat("reduce model.layers.", layer, "."); }

class GatherTrace : public ::testing::TestWithParam<OverlapCase> {};
class ReductionTrace : public ::testing::TestWithParam<OverlapCase> {};

TEST_P(GatherTrace, GathersRunBesideTheLayerBefore) {
  for (const StepTrace& trace : TraceStep(GetParam())) {
    std::vector<const TraceSpan*> forward, backward;
    for (int64_t l = 0; l + 1 < kLayers; ++l) {
      const TraceSpan& gather = trace.The(Gather(l + 1));
      EXPECT_LT(gather.begin_ns, trace.The(Cat("forward layer ", l)).end_ns) << gather.name;
      forward.push_back(&gather);
    }
    EXPECT_LT(trace.The("gather head").begin_ns,
              trace.The(Cat("forward layer ", kLayers - 1)).end_ns);
    for (int64_t l = kLayers - 1; l >= 0; --l) {
      const TraceSpan& gather = trace.The(Gather(l), 1);
      const std::string above = l + 1 < kLayers ? Cat("backward layer ", l + 1) : "head";
      EXPECT_LT(gather.begin_ns, trace.The(above).end_ns) << gather.name << " for backward";
      backward.push_back(&gather);
    }
    EXPECT_GT(trace.BesideKernels(forward), 0);
    EXPECT_GT(trace.BesideKernels(backward), 0);
  }
}

TEST_P(ReductionTrace, ReductionsRunBesideTheRestOfBackward) {
  for (const StepTrace& trace : TraceStep(GetParam())) {
    std::vector<const TraceSpan*> all;
    for (int64_t l = kLayers - 1; l >= 0; --l) {
      const std::vector<const TraceSpan*> reductions = trace.All(Reduce(l));
      EXPECT_EQ(reductions.size(), 9u);
      int64_t beside_own = 0;
      for (const TraceSpan* r : reductions) {
        beside_own += r->begin_ns < trace.The(Cat("backward layer ", l)).end_ns;
        if (l > 0) {
          EXPECT_LT(r->begin_ns, trace.The(Cat("backward layer ", l - 1)).end_ns) << r->name;
        }
      }
      // The input norm's is the last to be finished.
      EXPECT_GE(beside_own, 8);
      all.insert(all.end(), reductions.begin(), reductions.end());
    }
    const TraceSpan& top = trace.The(Cat("backward layer ", kLayers - 1));
    EXPECT_LT(trace.The("reduce lm_head").begin_ns, top.end_ns);
    EXPECT_LT(trace.The("reduce model.norm").begin_ns, top.end_ns);
    EXPECT_GT(trace.BesideKernels(all), 0);
  }
}

// The order of calls is the program's, so it is the same on all ranks, and where communication is
// the slower side it decides what compute waits for: weights that are needed next go before
// gradients that nobody waits for.
TEST_P(GatherTrace, WeightsGoBeforeGradients) {
  for (const StepTrace& trace : TraceStep(GetParam())) {
    const int64_t head = trace.The("reduce lm_head").begin_ns;
    for (const int64_t l : {kLayers - 1, kLayers - 2}) {  // as many as there are buffers
      EXPECT_LT(trace.The(Gather(l), 1).begin_ns, head) << Gather(l);
    }
    for (int64_t l = kLayers - 1; l > 0; --l) {
      EXPECT_LT(trace.The(Gather(l - 1), 1).begin_ns, trace.The(Reduce(l)).begin_ns) << Gather(l);
    }
  }
}

const OverlapCase kLocal{.name = "local"};
const OverlapCase kSharded{.name = "sharded", .accumulation = GradAccumulation::kSharded};
const OverlapCase kSlotExact{.name = "slot_exact", .numerics = Numerics::kSlotExact};
const OverlapCase kPinned{.name = "local, pinned", .pinned = true};

INSTANTIATE_TEST_SUITE_P(Cases, GatherTrace, ::testing::Values(kLocal, kSharded, kSlotExact));
INSTANTIATE_TEST_SUITE_P(Cases, ReductionTrace,
                         ::testing::Values(kLocal, kSharded, kSlotExact, kPinned));

}  // namespace
}  // namespace blockstep::testing
