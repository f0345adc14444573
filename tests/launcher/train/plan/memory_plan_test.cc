// Plan = reality, inside the arena: a run's high-water mark of every class of memory on every rank
// equals, to the byte, what the null backend says for the active sets that the run went through;
// and the plan made before the run, of the worst phases, is no smaller.
#include "launcher/train/plan/memory_plan.h"

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "core/base/philox.h"
#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "launcher/train/session.h"
#include "model/llama_tensors.h"
#include "optim/policy/blockllm_select.h"
#include "optim/policy/blocks.h"
#include "tests/launcher/coordinator/in_process_source.h"

namespace blockstep {
namespace {

constexpr const char* kPolicies[] = {"full", "badam", "blockllm"};
constexpr int64_t kSteps = 3;

TrainConfig ConfigOf(const std::string& policy, const std::string& placement,
                     const std::vector<std::string>& more = {}) {
  const std::string data = std::string(BLOCKSTEP_SOURCE_DIR) + "/deploy/data/c4_tiny/train.bin";
  std::vector<std::string> set = {
      "model.preset=20m",      "data.train=" + data,   "data.val=" + data,
      "data.tokens=16",        "batch.slots=4",        Cat("train.steps=", kSteps),
      "policy.name=" + policy, "policy.block_steps=1", "placement.mode=" + placement};
  set.insert(set.end(), more.begin(), more.end());
  return LoadTrainConfig("", set).value();
}

// Small tensors and many buffers of each: rounding and quanta show.
TrainConfig TinyConfigOf(const std::string& policy, const std::vector<std::string>& more) {
  const std::string source = BLOCKSTEP_SOURCE_DIR;
  std::vector<std::string> set = {"model.config=" + source + "/tests/e2e/tiny_model.json",
                                  "data.train=" + source + "/deploy/data/c4_tiny/train.bin",
                                  "data.tokens=16",
                                  "batch.slots=6",
                                  "train.numerics=slot_exact",
                                  "checkpoint.every_steps=1",
                                  Cat("train.steps=", kSteps),
                                  "policy.name=" + policy};
  set.insert(set.end(), more.begin(), more.end());
  return LoadTrainConfig("", set).value();
}

struct Reality {
  std::vector<MemoryUse> arenas;  // per rank
  std::vector<CommBytes> sent;    // per rank, by the steps
  std::vector<Directive> issued;
};

Reality Train(const TrainConfig& config, int ranks) {
  const LlamaConfig model = ModelOf(config).value();
  const TensorTable table = LlamaTensors(model);
  auto coordinator =
      InProcessCoordinator::Create(MakePolicy(ResolvePolicy(config, table).value(), table).value())
          .value();
  const auto groups = LocalGroup::CreatePairs(ranks);
  Reality reality;
  reality.arenas.resize(ranks);
  reality.sent.resize(ranks);
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      ThreadPool pool(1);
      auto session = Session::Create(config, model,
                                     {.backend = &CpuBackend(),
                                      .group = groups[r].group(),
                                      .pool = &pool,
                                      .arena_bytes = int64_t{1} << 40})
                         .value();
      auto source = coordinator->Source(r);
      auto evaluator = session->MakeEvaluator().value();
      auto engine = session->MakeEngine(source.get(), {}).value();
      // Weights stay zero: values take most of the time and change nothing here.
      for (int64_t step = 0; step < kSteps; ++step) CHECK_OK(engine->Run(step).status());
      // The last publication may still read other ranks' weights.
      CHECK_OK(groups[r].data->Synchronize());
      reality.arenas[r] = session->arena().use();
      reality.sent[r] = groups[r].group().bytes_sent();
    });
  }
  for (std::thread& t : threads) t.join();
  reality.issued = coordinator->Issued();
  return reality;
}

// The sets that a run of these directives had in hand, one after another, as steps of their own.
std::vector<Directive> SetsOf(const std::vector<Directive>& issued, const TrainConfig& config,
                              const TensorTable& table) {
  std::vector<Directive> steps;
  const auto add = [&](DirectiveKind kind, ActiveSet set) {
    const auto at = static_cast<int64_t>(steps.size());
    steps.push_back(
        {.kind = kind, .from = at, .through = at, .phase = at, .sets = {std::move(set)}});
  };
  for (const Directive& d : issued) {
    for (int64_t step = d.from; step <= std::min(d.through, kSteps - 1); ++step) {
      if (d.kind == DirectiveKind::kSweep) {
        for (const ActiveSet& set : d.sets) add(d.kind, set);
      } else {
        add(d.kind, ActiveSetFor(d, 0, step, config.train.seed, table));
      }
    }
  }
  return steps;
}

class PlanEqualsReality : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(PlanEqualsReality, ByClassAndRankToTheByte) {
  const auto [policy, placement] = GetParam();
  const TrainConfig config = ConfigOf(policy, placement);
  const LlamaConfig model = ModelOf(config).value();
  const TensorTable table = LlamaTensors(model);
  for (const int ranks : {1, 2, 4}) {
    const Reality reality = Train(config, ranks);
    const PlanShape shape{.ranks = ranks};
    for (int r = 0; r < ranks; ++r) {
      const RankPlan gone_through =
          PlanRank(config, model, shape, r, SetsOf(reality.issued, config, table)).value();
      const RankPlan worst = PlanRank(config, model, shape, r).value();
      for (size_t c = 0; c < worst.peak.size(); ++c) {
        const std::string where = Cat(policy, ", ", placement, ", rank ", r, " of ", ranks,
                                      ", class ", MemoryClassName(static_cast<MemoryClass>(c)));
        EXPECT_EQ(reality.arenas[r].peak[c], gone_through.peak[c]) << where;
        EXPECT_LE(reality.arenas[r].peak[c], worst.peak[c]) << where;
      }
      EXPECT_LE(reality.arenas[r].total_peak, worst.total());
      CommBytes sent;
      for (const PhasePlan& phase : gone_through.phases) {
        sent.all_gather += phase.sent.all_gather;
        sent.reduce_scatter += phase.sent.reduce_scatter;
      }
      EXPECT_EQ(reality.sent[r].reduce_scatter, sent.reduce_scatter);
      // A pass of the sweep counts as a step here, with a comparison of directives of its own.
      const int64_t small = 64 * ranks * static_cast<int64_t>(gone_through.phases.size());
      EXPECT_NEAR(static_cast<double>(reality.sent[r].all_gather),
                  static_cast<double>(sent.all_gather), static_cast<double>(small));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, PlanEqualsReality,
                         ::testing::Combine(::testing::ValuesIn(kPolicies),
                                            ::testing::Values("sharded", "pinned")));

// No selection that norms can lead to needs more than the plan.
TEST(WorstPhase, BoundsEverySelection) {
  double most = 0;
  std::vector<TrainConfig> configs;
  for (const char* sparsity : {"0.3", "0.5", "0.6", "0.9"}) {
    const std::vector<std::string> more = {Cat("policy.sparsity=", sparsity),
                                           "policy.probes_per_step=2"};
    configs.push_back(ConfigOf("blockllm", "sharded", more));
    configs.push_back(TinyConfigOf("blockllm", more));
  }
  for (const TrainConfig& config : configs) {
    const LlamaConfig model = ModelOf(config).value();
    const TensorTable table = LlamaTensors(model);
    const PolicyConfig policy = ResolvePolicy(config, table).value();
    for (const int ranks : {1, 3}) {
      std::vector<Directive> steps;
      for (uint64_t round = 0; round < 100; ++round) {
        std::vector<TensorStatistics> statistics;
        for (size_t t = 0; t < table.tensors.size(); ++t) {
          const uint64_t draw = DrawU64(9, RandomUse::kTest, static_cast<uint32_t>(round), t);
          statistics.push_back({.squared_norm = static_cast<double>(draw >> 40),
                                .elements = table.tensors[t].size()});
        }
        const std::vector<int> selected = SelectTensors({.sparsity = policy.sparsity}, statistics);
        ActiveSet set = MakeSet(table, selected);
        const int cut = CutUnit(table, set);
        std::vector<int> probes;
        for (int t = 0; t < static_cast<int>(table.tensors.size()); ++t) {
          const bool free = std::find(selected.begin(), selected.end(), t) == selected.end();
          if (free && table.tensors[t].unit >= cut) probes.push_back(t);
        }
        for (size_t p = 0; p < std::min<size_t>(2, probes.size()); ++p) {
          const size_t pick = (round + p * 7) % probes.size();
          set.entries.push_back(WholeTensor(table, probes[pick], Role::kProbe));
          probes.erase(probes.begin() + static_cast<int64_t>(pick));
        }
        const auto at = static_cast<int64_t>(round);
        steps.push_back({.from = at, .through = at, .phase = at, .sets = {MakeSet(set.entries)}});
      }
      const PlanShape shape{.ranks = ranks};
      for (int rank = 0; rank < ranks; ++rank) {
        SCOPED_TRACE(Cat("sparsity ", policy.sparsity, ", rank ", rank, " of ", ranks));
        const RankPlan worst = PlanRank(config, model, shape, rank).value();
        const RankPlan met = PlanRank(config, model, shape, rank, steps).value();
        // What a run reserves bounds them all; the phase that people are told of, nearly.
        EXPECT_LE(met.arena, worst.arena);
        EXPECT_LT(static_cast<double>(met.total()), 1.01 * static_cast<double>(worst.total()));
        EXPECT_LT(static_cast<double>(worst.arena), 1.5 * static_cast<double>(worst.total()));
        most =
            std::max(most, static_cast<double>(met.total()) / static_cast<double>(worst.total()));
      }
    }
  }
  std::cout << "largest of random selections: " << 100 * most << " % of the plan\n";
  EXPECT_GT(most, 0.8);
}

// 7B on this machine: addresses only.
TEST(Plan, OfALargeModelTouchesNoMemory) {
  const TrainConfig config = ConfigOf("badam", "sharded", {"model.preset=7b", "model.vocab=32000"});
  const LlamaConfig model = ModelOf(config).value();
  const auto resident = [] {
    int64_t pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    return resident * 4096;
  };
  const int64_t before = resident();
  const RankPlan plan = PlanRank(config, model, {.ranks = 4}, 3).value();
  EXPECT_GT(plan.total(), int64_t{8} << 30);
  EXPECT_LT(resident() - before, int64_t{64} << 20);
}

}  // namespace
}  // namespace blockstep
