// A policy small enough to follow by hand, the reports that drive it, and what it must decide.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "core/base/str.h"
#include "optim/policy/policy.h"

namespace blockstep {

// Patience in little: tensor 0 learns until a report's loss rises, then the next tensor. Horizon
// 1 + lag: the report of step t decides step t + 1 + lag.
class RisingLossPolicy : public Policy {
 public:
  explicit RisingLossPolicy(int lag) : lag_(lag) {}
  std::string_view name() const override { return "rising_loss"; }
  std::vector<Directive> Start() override {
    std::vector<Directive> first;
    for (int64_t step = 0; step <= lag_; ++step) first.push_back(Make(step));
    return first;
  }
  std::vector<Directive> OnReport(const StepReport& report) override {
    if (report.loss_sum > last_) ++phase_;
    last_ = report.loss_sum;
    return {Make(report.step + 1 + lag_)};
  }
  std::string SaveState() const override { return Cat(phase_, " ", std::hexfloat, last_); }
  absl::Status LoadState(std::string_view state) override {
    const std::string text(state);
    char* end = nullptr;
    phase_ = std::strtol(text.c_str(), &end, 10);
    last_ = std::strtod(end, nullptr);
    return absl::OkStatus();
  }
  std::vector<Directive> Continue(int64_t, std::vector<Directive> issued) override {
    return issued;
  }

 private:
  Directive Make(int64_t step) const {
    Directive d{.from = step, .through = step, .phase = phase_};
    d.sets.push_back({{{.tensor = static_cast<int>(phase_), .rows = {0, 64}}}});
    d.label = Cat("tensor ", phase_);
    return d;
  }
  const int lag_;
  int64_t phase_ = 0;
  double last_ = 1e30;
};

// Falls for a while, rises at multiples of 7.
inline StepReport ReportOf(int64_t step) {
  return {.step = step,
          .loss_sum = (step % 7 == 0 ? 200.0 : 100.0) - 0.001 * static_cast<double>(step),
          .tokens = 10};
}

// What every rank must see at each step: the policy alone.
inline std::vector<int64_t> ExpectedPhases(int64_t steps, int lag = 1) {
  RisingLossPolicy policy(lag);
  std::vector<int64_t> phases;
  for (const Directive& d : policy.Start()) phases.push_back(d.phase);
  for (int64_t step = 0; step < steps; ++step) {
    for (const Directive& d : policy.OnReport(ReportOf(step))) phases.push_back(d.phase);
  }
  phases.resize(static_cast<size_t>(steps));
  return phases;
}

}  // namespace blockstep
