// Plays a run against a policy: finds the directive of each step, invents that step's statistics,
// reports.
#pragma once

#include <gtest/gtest.h>

#include "core/base/philox.h"
#include "core/step/directive.h"
#include "optim/policy/policy.h"

namespace blockstep {

inline double TestUniform(uint64_t seed, int64_t step, int64_t index) {
  const uint64_t word = DrawU64(seed, RandomUse::kTest, static_cast<uint32_t>(step), index);
  return static_cast<double>(word >> 11) * 0x1p-53;
}

// A noisy loss without descent, so that patience runs out often; norms between 0 and 1.
inline StepReport InventReport(const Directive& d, int64_t step, uint64_t seed,
                               const TensorTable& table) {
  StepReport report{.step = step, .tokens = 2048};
  report.loss_sum = 2048 * (4 + TestUniform(seed, step, 1 << 20));
  if (TestUniform(seed, step, 1 << 21) < 0.1) report.nonfinite = 3;
  std::vector<ActiveSet> sets = d.sets;
  if (d.kind == DirectiveKind::kTrain) sets = {ActiveSetFor(d, 0, step, seed, table)};
  for (const ActiveSet& set : sets) {
    for (const ActiveEntry& e : set.entries) {
      report.norms.push_back({.tensor = e.tensor,
                              .role = e.role,
                              .squared_norm = TestUniform(seed, step, e.tensor),
                              .elements = e.rows.size() * table.tensors[e.tensor].cols,
                              .adam_squared_norm = e.role == Role::kProbe
                                                       ? -1
                                                       : 50 * TestUniform(seed, step, ~e.tensor)});
    }
  }
  return report;
}

inline const Directive* Covering(const std::vector<Directive>& directives, int64_t step) {
  for (const Directive& d : directives) {
    if (d.from <= step && step <= d.through) return &d;
  }
  return nullptr;
}

struct Played {
  std::vector<Directive> directives;
  std::vector<StepReport> reports;
  std::vector<std::string> states;  // after the report of each step
  std::vector<size_t> issued;       // directives there were by then
};

// `horizon`: steps ahead of the one that runs for which a directive must be there already.
inline Played Play(Policy& policy, const PolicyConfig& config, const TensorTable& table,
                   int64_t horizon = 0) {
  Played played;
  played.directives = policy.Start();
  for (int64_t t = 0; t < config.total_steps; ++t) {
    const Directive* d = Covering(played.directives, t);
    if (d == nullptr) {
      ADD_FAILURE() << config.name << ": no directive covers step " << t;
      return played;
    }
    const int64_t ahead = std::min(t + horizon, config.total_steps - 1);
    if (t > 0) {
      EXPECT_NE(Covering(played.directives, ahead), nullptr) << config.name << " " << ahead;
    }
    played.reports.push_back(InventReport(*d, t, config.seed, table));
    for (Directive& more : policy.OnReport(played.reports.back())) {
      played.directives.push_back(std::move(more));
    }
    played.states.push_back(policy.SaveState());
    played.issued.push_back(played.directives.size());
  }
  return played;
}

}  // namespace blockstep
