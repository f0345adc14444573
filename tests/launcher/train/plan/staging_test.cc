// What a save beside training adds to the plan of a phase: a copy of all state, and of the rows
// that learn in that phase and in the one it may run into.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/str.h"
#include "launcher/train/plan/memory_plan.h"
#include "launcher/train/session.h"
#include "model/llama_tensors.h"
#include "optim/policy/worst_phases.h"
#include "tests/e2e/oracle.h"

namespace blockstep::testing {
namespace {

TrainConfig ConfigOf(const std::string& policy, int64_t save_every) {
  const std::string data = std::string(BLOCKSTEP_SOURCE_DIR) + "/deploy/data/c4_tiny/train.bin";
  return LoadTrainConfig("", {"model.preset=9m", "data.train=" + data, "data.tokens=16",
                              "batch.slots=4", "train.steps=8", "policy.name=" + policy,
                              "policy.block_steps=1", Cat("checkpoint.every_steps=", save_every)})
      .value();
}

int64_t StagingOf(const PhasePlan& phase) {
  return phase.bytes[static_cast<size_t>(MemoryClass::kStaging)];
}

// Bytes of the rows that `rank` owns and that learn.
int64_t RowBytes(const TensorTable& table, const ActiveSet& set, int ranks, int rank) {
  int64_t elements = 0;
  for (const ActiveEntry& e : set.entries) {
    if (e.role == Role::kTrain) elements += OwnElements(table, e, ranks, rank);
  }
  return 4 * elements;
}

std::vector<Directive> Reversed(std::vector<Directive> phases) {
  std::reverse(phases.begin(), phases.end());
  for (size_t i = 0; i < phases.size(); ++i) {
    phases[i].from = phases[i].through = phases[i].phase = static_cast<int64_t>(i);
  }
  return phases;
}

TEST(Staging, OfASaveBesideTraining) {
  for (const std::string policy : {"full", "badam"}) {
    for (const int ranks : {1, 3}) {
      const TrainConfig quiet = ConfigOf(policy, 0), saves = ConfigOf(policy, 2);
      const LlamaConfig model = ModelOf(quiet).value();
      const TensorTable table = LlamaTensors(model);
      const std::vector<Directive> phases = WorstPhases(ResolvePolicy(saves, table).value(), table);
      for (int rank = 0; rank < ranks; ++rank) {
        SCOPED_TRACE(Cat(policy, ", rank ", rank, " of ", ranks));
        const RankPlan without = PlanRank(quiet, model, {.ranks = ranks}, rank, phases).value();
        const RankPlan with = PlanRank(saves, model, {.ranks = ranks}, rank, phases).value();
        std::vector<int64_t> rows;
        for (const Directive& d : phases) rows.push_back(RowBytes(table, d.sets[0], ranks, rank));
        ASSERT_GT(*std::max_element(rows.begin(), rows.end()), 0);
        int64_t state = 0;  // the largest phase's, as the arena has it
        for (const PhasePlan& p : with.phases) {
          state = std::max(state, p.bytes[static_cast<size_t>(MemoryClass::kState)]);
        }
        for (size_t i = 0; i < phases.size(); ++i) {
          int64_t other = 0;
          for (size_t j = 0; j < rows.size(); ++j) other = std::max(other, j == i ? 0 : rows[j]);
          EXPECT_EQ(StagingOf(with.phases[i]) - StagingOf(without.phases[i]),
                    state + rows[i] + other)
              << "phase " << i;
        }
        // The worst phase is the one with the largest sum, saves counted, wherever it stands.
        int64_t most = 0;
        for (const PhasePlan& p : with.phases) most = std::max(most, Sum(p.bytes));
        EXPECT_EQ(with.total(), most);
        const std::vector<Directive> back = Reversed(phases);
        EXPECT_EQ(PlanRank(saves, model, {.ranks = ranks}, rank, back).value().total(), most);
      }
    }
  }
}

}  // namespace
}  // namespace blockstep::testing
