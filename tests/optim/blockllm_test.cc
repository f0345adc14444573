// Block sequences of optim/policy/blockllm against blockllm_cases.json, which blockllm_oracle.py
// wrote from the rules alone; and the rules one by one.
#include "optim/policy/blockllm.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/optim/play.h"
#include "tests/optim/tiny_table.h"

namespace blockstep {
namespace {

using Json = nlohmann::json;

TensorPolicy Treatment(const std::string& name) {
  if (name == "frozen") return TensorPolicy::kFrozen;
  return name == "always" ? TensorPolicy::kAlways : TensorPolicy::kAsBlocks;
}

PolicyConfig ConfigOf(const Json& c) {
  PolicyConfig config{.name = "blockllm", .total_steps = c["total_steps"], .lag = c["lag"]};
  config.mode = c["mode"] == "paper" ? BlockLlmMode::kPaper : BlockLlmMode::kRepaired;
  config.score = c["score"] == "grad_rms" ? BlockLlmScore::kGradRms
                 : c["score"] == "adam"   ? BlockLlmScore::kAdam
                                          : BlockLlmScore::kGradNorm;
  config.sparsity = c["sparsity"];
  config.patience = c["patience"];
  config.probes_per_step = c["probes"];
  config.probe_scope = c["probe_scope"] == "all" ? ProbeScope::kAll : ProbeScope::kAboveCut;
  config.embedding = Treatment(c["embedding"]);
  config.final_norm = Treatment(c["final_norm"]);
  return config;
}

TensorTable TableOf(const Json& model) {
  TensorTable table;
  table.tied = model["tied"];
  for (const Json& kind : model["units"]) {
    table.units.push_back({.name = kind,
                           .kind = kind == "embedding" ? UnitKind::kEmbedding
                                   : kind == "head"    ? UnitKind::kHead
                                                       : UnitKind::kLayer});
  }
  for (const Json& t : model["tensors"]) {
    const int index = static_cast<int>(table.tensors.size());
    table.tensors.push_back({.name = "tensor " + std::to_string(index),
                             .rows = t[0],
                             .cols = t[1],
                             .unit = t[2],
                             .vector = t[3]});
    table.units[table.tensors.back().unit].tensors.push_back(index);
  }
  return table;
}

StepReport ReportOf(const Json& r, int64_t step) {
  StepReport report{
      .step = step, .loss_sum = r["loss_sum"], .tokens = r["tokens"], .nonfinite = r["nonfinite"]};
  for (const Json& n : r["norms"]) {
    report.norms.push_back({.tensor = n[0],
                            .role = n[1] == 1 ? Role::kProbe : Role::kTrain,
                            .squared_norm = n[2],
                            .adam_squared_norm = n[3]});
  }
  return report;
}

// [from, through, phase, tensors, probe candidates], as the oracle writes it.
Json Summary(const Directive& d) {
  std::vector<int> tensors;
  for (const ActiveEntry& e : d.sets.at(0).entries) tensors.push_back(e.tensor);
  return {d.from, d.through, d.phase, tensors, d.probe_candidates};
}

TEST(BlockLlm, SequencesOfTheOracle) {
  std::ifstream file(BLOCKSTEP_SOURCE_DIR "/tests/optim/blockllm_cases.json");
  const Json cases = Json::parse(file)["cases"];
  ASSERT_GE(cases.size(), 20u);
  for (const Json& c : cases) {
    const std::string name = c["name"];
    const TensorTable table = TableOf(c["model"]);
    auto policy = MakePolicy(ConfigOf(c), table);
    ASSERT_TRUE(policy.ok()) << name << ": " << policy.status();
    std::vector<Directive> found = (*policy)->Start();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].kind, DirectiveKind::kSweep);
    int64_t step = 0;
    for (const Json& r : c["reports"]) {
      for (Directive& d : (*policy)->OnReport(ReportOf(r, step++))) found.push_back(std::move(d));
    }
    const Json& wanted = c["directives"];
    ASSERT_EQ(found.size(), wanted.size() + 1) << name;
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_EQ(Summary(found[i + 1]), wanted[i]) << name << ", directive " << i;
    }
  }
}

TEST(BlockLlm, SweepTakesEveryCandidateOnceWithinTheLimit) {
  const TensorTable table = TinyTable();
  PolicyConfig config{.name = "blockllm", .total_steps = 5};
  for (const int64_t most : {int64_t{0}, int64_t{16384}, int64_t{20000}, int64_t{1} << 40}) {
    config.sweep_elements = most;
    BlockLlmPolicy policy(config, table);
    const Directive sweep = policy.Start()[0];
    EXPECT_EQ(sweep.from, 0);
    EXPECT_EQ(sweep.through, 0);
    int next = 0;
    for (const ActiveSet& pass : sweep.sets) {
      EXPECT_LE(pass.Elements(table), SweepElements(config, table));
      for (const ActiveEntry& e : pass.entries) {
        EXPECT_EQ(e.role, Role::kProbe);
        EXPECT_EQ(e.tensor, next++);
      }
    }
    EXPECT_EQ(next, static_cast<int>(table.tensors.size()));
    if (most > 100000) {
      EXPECT_EQ(sweep.sets.size(), 1u);
    }
  }
}

TEST(BlockLlm, BudgetIsReachedAndNotByMoreThanTheLastTensor) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::vector<TensorStatistics> statistics;
    int64_t all = 0;
    for (int i = 0; i < 20; ++i) {
      statistics.push_back({.squared_norm = TestUniform(seed, 0, i),
                            .elements = 1 + static_cast<int64_t>(1000 * TestUniform(seed, 1, i))});
      all += statistics.back().elements;
    }
    const double sparsity = TestUniform(seed, 2, 0);
    int64_t sum = 0;
    double weakest = 2;
    int64_t weakest_elements = 0;
    for (int i : SelectTensors({.sparsity = sparsity, .count = 9}, statistics)) {
      sum += statistics[i].elements;
      if (statistics[i].squared_norm < weakest) {
        weakest = statistics[i].squared_norm;
        weakest_elements = statistics[i].elements;
      }
    }
    const double budget = (1 - sparsity) * static_cast<double>(all);
    EXPECT_GE(static_cast<double>(sum), budget);
    EXPECT_LT(static_cast<double>(sum - weakest_elements), budget);
  }
}

TEST(BlockLlm, FrequencyMakesRoomForOthers) {
  std::vector<TensorStatistics> s = {{.squared_norm = 16, .elements = 1, .selected = 9},
                                     {.squared_norm = 1, .elements = 1, .selected = 1}};
  const SelectionRule rule{.sparsity = 0.5, .count = 9};  // 4 / (10/10) against 1 / (2/10)
  EXPECT_EQ(SelectTensors(rule, s), (std::vector<int>{1}));
  s[0].squared_norm = 36;
  EXPECT_EQ(SelectTensors(rule, s), (std::vector<int>{0}));
}

TEST(BlockLlm, ANonFiniteNormKeepsTheLastOne) {
  const TensorTable table = TinyTable({.layers = 1});
  const PolicyConfig config{.name = "blockllm", .total_steps = 9, .lag = 0};
  const auto tensors_after = [&](double norm_at_0) {
    BlockLlmPolicy policy(config, table);
    StepReport sweep = InventReport(policy.Start()[0], 0, 3, table);
    sweep.norms[0].squared_norm = norm_at_0;
    return Summary(policy.OnReport(sweep)[0]);
  };
  EXPECT_EQ(tensors_after(std::nan("")), tensors_after(0));
  EXPECT_NE(tensors_after(std::nan("")), tensors_after(100));
}

}  // namespace
}  // namespace blockstep
