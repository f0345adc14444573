// What holds for every policy: coverage, valid sets, determinism, exact continuation, refusals.
#include "optim/policy/policy.h"

#include <gtest/gtest.h>

#include <sstream>

#include "core/base/str.h"
#include "optim/policy/describe.h"
#include "optim/policy/shifted.h"
#include "tests/optim/play.h"
#include "tests/optim/tiny_table.h"

namespace blockstep {
namespace {

std::vector<PolicyConfig> AllConfigs() {
  std::vector<PolicyConfig> configs;
  for (int lag = 0; lag <= 2; ++lag) {
    PolicyConfig base{.seed = 5, .total_steps = 97, .lag = lag};
    base.patience = 3;
    for (const std::string& name : KnownPolicies()) {
      base.name = name;
      configs.push_back(base);
    }
    configs.back().script = {{{{{.tensor = 0, .rows = {64, 128}}}}, 40},
                             {{{{.tensor = 3, .rows = {0, 64}}}}, 60}};
    base.name = "badam";
    base.block_steps = 1;
    base.embedding_split = 2;
    configs.push_back(base);
    base.embedding_split = 1;
    base.name = "blockllm";
    base.mode = BlockLlmMode::kPaper;
    configs.push_back(base);
    base.mode = BlockLlmMode::kRepaired;
    base.embedding = TensorPolicy::kAlways;
    base.probes_per_step = 4;
    base.groups = 2;
    configs.push_back(base);
  }
  return configs;
}

TEST(EveryPolicy, CoversEveryStepOnceWithValidSets) {
  const TensorTable table = TinyTable();
  for (const PolicyConfig& config : AllConfigs()) {
    auto policy = MakePolicy(config, table);
    ASSERT_TRUE(policy.ok()) << policy.status();
    // A patience rule knows step t + lag while t runs (its report brings the next), the others
    // more.
    const Played played = Play(**policy, config, table, config.lag);
    int64_t next = 0, phase = 0;
    for (const Directive& d : played.directives) {
      EXPECT_EQ(d.from, next) << config.name << " lag " << config.lag;
      EXPECT_GE(d.through, d.from);
      EXPECT_GE(d.phase, phase);
      next = d.through + 1;
      phase = d.phase;
      if (d.kind == DirectiveKind::kTrain) {
        ASSERT_EQ(static_cast<int>(d.sets.size()), config.groups);
      }
      for (const ActiveSet& set : d.sets) {
        EXPECT_FALSE(set.empty());
        EXPECT_TRUE(Validate(set, table).ok()) << Validate(set, table);
      }
      if (d.kind == DirectiveKind::kSweep) continue;
      const ActiveSet probed = ActiveSetFor(d, 0, d.from, config.seed, table);
      EXPECT_TRUE(Validate(probed, table).ok()) << Validate(probed, table);
    }
    EXPECT_EQ(next, config.total_steps) << config.name;
  }
}

TEST(EveryPolicy, ContinuesFromASavedStateAtEveryStep) {
  const TensorTable table = TinyTable();
  for (const PolicyConfig& config : AllConfigs()) {
    auto policy = MakePolicy(config, table);
    ASSERT_TRUE(policy.ok()) << policy.status();
    const Played played = Play(**policy, config, table);
    for (int64_t t = 0; t + 1 < config.total_steps; ++t) {
      auto fresh = MakePolicy(config, table);
      ASSERT_TRUE(fresh.ok());
      const absl::Status loaded = (*fresh)->LoadState(played.states[t]);
      ASSERT_TRUE(loaded.ok()) << loaded;
      EXPECT_EQ((*fresh)->SaveState(), played.states[t]);
      // To the end from early steps, one step from the others: both find a lost field.
      const int64_t end = t % 16 == 0 ? config.total_steps : t + 2;
      size_t at = played.issued[t];
      for (int64_t s = t + 1; s < end; ++s) {
        for (const Directive& d : (*fresh)->OnReport(played.reports[s])) {
          ASSERT_LT(at, played.directives.size());
          EXPECT_EQ(d.Hash(), played.directives[at].Hash()) << config.name << " step " << s;
          EXPECT_EQ(d.label, played.directives[at++].label);
        }
        ASSERT_EQ((*fresh)->SaveState(), played.states[s]) << config.name << " step " << s;
      }
    }
  }
}

// A run of `shorter` steps that is continued to `config.total_steps`, from its end and from its
// middle, decides as one that was as long from the beginning; so does the reverse.
TEST(EveryPolicy, ContinuesToAnotherLength) {
  const TensorTable table = TinyTable();
  for (const PolicyConfig& config : AllConfigs()) {
    auto policy = MakePolicy(config, table);
    ASSERT_TRUE(policy.ok()) << policy.status();
    const Played whole = Play(**policy, config, table);
    for (const int64_t shorter : {1, 2, 3, 40, 41, 96}) {
      PolicyConfig cut = config;
      cut.total_steps = shorter;
      auto first = MakePolicy(cut, table);
      ASSERT_TRUE(first.ok());
      const Played played = Play(**first, cut, table);
      for (const int64_t step : {(shorter + 1) / 2, shorter}) {
        const std::string where = Cat(config.name, " ", shorter, " steps, continued at ", step);
        for (const bool longer : {true, false}) {
          const Played& saved = longer ? played : whole;
          std::vector<Directive> issued(saved.directives.begin(),
                                        saved.directives.begin() + saved.issued[step - 1]);
          std::erase_if(issued, [&](const Directive& d) { return d.through < step; });
          const PolicyConfig& now = longer ? config : cut;
          auto next = MakePolicy(now, table);
          ASSERT_TRUE((*next)->LoadState(saved.states[step - 1]).ok()) << where;
          std::vector<Directive> directives = (*next)->Continue(step, std::move(issued));
          for (int64_t t = step; t < now.total_steps; ++t) {
            const Directive *found = Covering(directives, t),
                            *wanted = Covering(whole.directives, t);
            ASSERT_NE(found, nullptr) << where << ": step " << t;
            EXPECT_LT(found->through, now.total_steps) << where;
            EXPECT_EQ(found->phase, wanted->phase) << where << ": step " << t;
            EXPECT_EQ(found->label, wanted->label) << where << ": step " << t;
            EXPECT_EQ(found->probe_candidates, wanted->probe_candidates) << where << ": step " << t;
            for (Directive& more : (*next)->OnReport(whole.reports[t])) {
              directives.push_back(std::move(more));
            }
          }
          EXPECT_EQ(Covering(directives, now.total_steps), nullptr) << where;
        }
      }
    }
  }
}

TEST(EveryPolicy, RefusesForeignAndBrokenStates) {
  const TensorTable table = TinyTable();
  const std::vector<PolicyConfig> configs = AllConfigs();
  for (const PolicyConfig& config : configs) {
    auto policy = MakePolicy(config, table);
    ASSERT_TRUE(policy.ok());
    const std::string state = Play(**policy, config, table).states[20];
    for (const PolicyConfig& other : configs) {
      if (other.name == config.name) continue;
      auto foreign = MakePolicy(other, table);
      ASSERT_TRUE(foreign.ok());
      EXPECT_EQ((*foreign)->LoadState(state).code(), absl::StatusCode::kInvalidArgument);
    }
    for (const std::string& broken :
         {std::string(), std::string("garbage"), state.substr(0, state.size() / 2),
          state.substr(0, state.size() - 1), state + "x"}) {
      EXPECT_EQ((*policy)->LoadState(broken).code(), absl::StatusCode::kDataLoss) << broken;
    }
    // Each line taken out, or with a word in place of its last number.
    for (size_t at = state.find('\n') + 1; at < state.size() - 4; at = state.find('\n', at) + 1) {
      const size_t end = state.find('\n', at);
      EXPECT_FALSE((*policy)->LoadState(state.substr(0, at) + state.substr(end + 1)).ok());
      const size_t space = state.rfind(' ', end);
      if (space < at || space == std::string::npos) continue;
      EXPECT_FALSE((*policy)->LoadState(state.substr(0, space) + " x" + state.substr(end)).ok());
    }
  }
}

// To the policy inside, the first step of a shifted one is 0; its state says where that was.
TEST(ShiftedPolicy, IsThePolicyOfTheRestOfTheRun) {
  const TensorTable table = TinyTable();
  for (const PolicyConfig& config : AllConfigs()) {
    const PolicyShift shift{.steps = 31, .phases = 7};
    PolicyConfig rest = config;
    rest.total_steps -= shift.steps;
    auto shifted = MakeShiftedPolicy(config, table, shift);
    auto inside = MakePolicy(rest, table);
    ASSERT_TRUE(shifted.ok()) << shifted.status();
    std::vector<Directive> wanted = (*inside)->Start(), found = (*shifted)->Start();
    const auto expect_shifted = [&] {
      ASSERT_EQ(found.size(), wanted.size());
      for (size_t i = 0; i < wanted.size(); ++i) {
        wanted[i].from += shift.steps;
        wanted[i].through += shift.steps;
        wanted[i].phase += shift.phases;
        EXPECT_EQ(found[i].Hash(), wanted[i].Hash()) << config.name;
      }
    };
    expect_shifted();
    std::vector<Directive> all = found;
    for (int64_t t = 0; t < rest.total_steps; ++t) {
      const Directive* d = Covering(all, t + shift.steps);
      ASSERT_NE(d, nullptr) << config.name << " step " << t;
      StepReport report = InventReport(*d, t, config.seed, table);
      wanted = (*inside)->OnReport(report);
      report.step += shift.steps;
      found = (*shifted)->OnReport(report);
      expect_shifted();
      all.insert(all.end(), found.begin(), found.end());
      // Another process knows the configuration and the state, no shift.
      const std::string state = (*shifted)->SaveState();
      shifted = MakeShiftedPolicy(config, table);
      ASSERT_TRUE((*shifted)->LoadState(state).ok());
      EXPECT_EQ((*shifted)->SaveState(), state);
      if (t + 1 == rest.total_steps) break;
      const int64_t next = t + 1 + shift.steps;
      std::vector<Directive> known = all;
      std::erase_if(known, [&](const Directive& k) { return k.through < next; });
      const std::vector<Directive> again = (*shifted)->Continue(next, known);
      ASSERT_EQ(again.size(), known.size()) << config.name << " step " << next;
      for (size_t i = 0; i < known.size(); ++i) EXPECT_EQ(again[i].Hash(), known[i].Hash());
    }
    EXPECT_EQ(all.back().through, config.total_steps - 1);
  }
}

TEST(ShiftedPolicy, WithoutAShiftIsThePolicyItself) {
  const TensorTable table = TinyTable();
  const PolicyConfig config = AllConfigs().front();
  auto plain = MakePolicy(config, table), shifted = MakeShiftedPolicy(config, table);
  EXPECT_EQ((*shifted)->SaveState(), (*plain)->SaveState());
  EXPECT_TRUE((*shifted)->LoadState((*plain)->SaveState()).ok());
  EXPECT_FALSE(MakeShiftedPolicy(config, table, {.steps = config.total_steps}).ok());
  EXPECT_FALSE((*shifted)->LoadState("blockstep-policy-state 1 shifted\nsteps 3\nend\n").ok());
}

void ExpectFindings(const PolicyConfig& config, const std::vector<std::string>& findings) {
  const auto policy = MakePolicy(config, TinyTable());
  ASSERT_FALSE(policy.ok()) << config.name;
  for (const std::string& finding : findings) {
    EXPECT_NE(policy.status().message().find(finding), absl::string_view::npos)
        << "expected \"" << finding << "\" in: " << policy.status();
  }
}

TEST(MakePolicy, ReportsEveryContradictionAtOnce) {
  const PolicyConfig bad{.groups = 0, .lag = -1};
  PolicyConfig config = bad;
  ExpectFindings(config, {"total_steps: expected >= 1, got 0", "groups: expected >= 1, got 0",
                          "lag: expected 0 to 1000000, got -1"});
  config.name = "blockllm";
  config.sparsity = 1;
  config.patience = 0;
  config.probes_per_step = -1;
  config.embedding_split = 2;
  config.sweep_elements = 100;
  config.mask = BlockLlmMask::kShare;
  ExpectFindings(config,
                 {"total_steps", "sparsity: expected a value in [0, 1), got 1",
                  "patience: ", "probes_per_step: ", "embedding_split: expected 1 (policy blockllm",
                  "sweep_elements: expected 0 or at least 16384", "mask: expected none"});
  config = bad;
  config.name = "badam";
  config.block_steps = 0;
  config.embedding_split = 5;  // 256 rows are 4 tiles
  ExpectFindings(config, {"block_steps: expected >= 1, got 0",
                          "embedding_split: expected at most 4, got 5: lm_head.weight"});
  config.embedding_split = 2;
  config.embedding = TensorPolicy::kAlways;
  ExpectFindings(config, {"embedding_split: expected 1 unless `embedding: as_blocks`, got 2"});
  config = {.name = "full", .total_steps = 3};
  config.embedding = TensorPolicy::kFrozen;
  ExpectFindings(config, {"full trains every tensor"});
}

TEST(MakePolicy, NamesPoliciesAndScripts) {
  PolicyConfig config{.name = "blokllm", .total_steps = 10};
  ExpectFindings(config, {"full, badam, blockllm, scripted", "did you mean blockllm?"});
  config.name = "scripted";
  config.script = {{{{{.tensor = 0, .rows = {0, 64}}}}, 4},
                   {{{{.tensor = 99, .rows = {0, 64}}}}, 5}};
  ExpectFindings(config, {"phase: expected at least train.steps (10), got 9 steps in total",
                          "phase[1]: active set: expected a tensor index below 30, got 99"});
}

TEST(Describe, CountsAgainstHandFigures) {
  const TensorTable table = TinyTable({.layers = 3});
  constexpr double kLayer = 4 * 64 * 64 + 3 * 64 * 128, kHead = 256 * 64, kP = 3 * kLayer + kHead;
  const FlopsPerToken top = Flops(table, {{WholeTensor(table, 25)}});  // a matrix of layer 2
  EXPECT_EQ(top.forward, 2 * kP);
  EXPECT_EQ(top.dx, 2 * (kLayer + kHead));
  EXPECT_EQ(top.dw, 2.0 * static_cast<double>(table.tensors[25].size()));
  const FlopsPerToken embedding = Flops(table, {{WholeTensor(table, 0)}});
  EXPECT_EQ(embedding.dx, 2 * kP);
  EXPECT_EQ(embedding.dw, 0);  // a scatter-add
  EXPECT_EQ(Flops(table, {}).total(), 2 * kP);
  const TensorTable tied = TinyTable({.layers = 3, .tied = true});
  const FlopsPerToken both = Flops(tied, {{WholeTensor(tied, 0)}});
  EXPECT_EQ(both.dw, 2 * kHead);
  EXPECT_EQ(both.total(), 4 * kP + 2 * kHead);
}

TEST(Describe, GainsByCount) {
  // GaLore's 60m and 7b: by count 1.65x and 1.93x for one layer at a time.
  const TensorTable small = TinyTable({.vocab = 32000, .hidden = 512, .inner = 1376, .layers = 8});
  const TensorTable large =
      TinyTable({.vocab = 32000, .hidden = 4096, .inner = 11008, .layers = 32});
  PolicyConfig config{.name = "badam", .total_steps = 1000};
  config.embedding = config.final_norm = TensorPolicy::kFrozen;
  EXPECT_NEAR(Cost(config, small).gain, 1.65, 0.01);
  EXPECT_NEAR(Cost(config, large).gain, 1.93, 0.01);
  config = {.name = "blockllm", .total_steps = 1000};
  EXPECT_NEAR(Cost(config, large).gain, 1.2, 0.01);
  config.name = "full";
  EXPECT_EQ(Cost(config, small).gain, 1);
  EXPECT_NE(Describe(config, small).find("full: 100.00% of parameters per step, 1.00x fewer"),
            std::string::npos);
}

TEST(Describe, LinesHaveAtMost100Columns) {
  const TensorTable table =
      TinyTable({.vocab = 32000, .hidden = 4096, .inner = 11008, .layers = 32});
  for (const std::string& name : KnownPolicies()) {
    PolicyConfig config{.name = name, .total_steps = 1000};
    if (name == "scripted") config.script = {{{{WholeTensor(table, 0)}}, 1000}};
    std::istringstream lines(Describe(config, table));
    std::string line;
    int count = 0;
    for (; std::getline(lines, line); ++count) EXPECT_LE(line.size(), 100u) << line;
    EXPECT_EQ(count, 2) << name;
  }
}

}  // namespace
}  // namespace blockstep
