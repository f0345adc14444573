#include "optim/policy/shifted.h"

#include <limits>

#include "core/base/status.h"
#include "optim/policy/state_text.h"

namespace blockstep {
namespace {

class ShiftedPolicy : public Policy {
 public:
  ShiftedPolicy(const PolicyConfig& config, const TensorTable& table)
      : config_(config), table_(table) {}

  absl::Status Begin(PolicyShift shift) {
    if (shift.steps >= config_.total_steps) {
      return InvalidArgument("policy: expected to begin below step ", config_.total_steps,
                             ", the run's steps, got ", shift.steps);
    }
    PolicyConfig rest = config_;
    rest.total_steps -= shift.steps;
    ASSIGN_OR_RETURN(inside_, MakePolicy(rest, table_));
    shift_ = shift;
    return absl::OkStatus();
  }

  std::string_view name() const override { return inside_->name(); }
  std::vector<Directive> Start() override { return Shifted(inside_->Start()); }
  std::vector<Directive> OnReport(const StepReport& report) override {
    StepReport inner = report;
    inner.step -= shift_.steps;
    return Shifted(inside_->OnReport(inner));
  }

  std::string SaveState() const override {
    if (shift_.steps == 0) return inside_->SaveState();
    StateWriter writer(kName);
    writer.Ints("steps", {shift_.steps});
    writer.Ints("phases", {shift_.phases});
    return writer.Finish() + inside_->SaveState();
  }
  absl::Status LoadState(std::string_view state) override {
    const std::string_view end = "\nend\n";
    const size_t head = state.find(end);
    const size_t size = head == std::string_view::npos ? state.size() : head + end.size();
    PolicyShift shift;
    if (const auto reader = StateReader::Parse(state.substr(0, size), kName); reader.ok()) {
      constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 2;
      ASSIGN_OR_RETURN(shift.steps, reader->Int("steps", 1, kMost));
      ASSIGN_OR_RETURN(shift.phases, reader->Int("phases", 0, kMost));
      state.remove_prefix(size);
    }
    RETURN_IF_ERROR(Begin(shift));
    return inside_->LoadState(state);
  }

  std::vector<Directive> Continue(int64_t step, std::vector<Directive> issued) override {
    return Shifted(inside_->Continue(step - shift_.steps, Moved(std::move(issued), -1)));
  }

 private:
  static constexpr std::string_view kName = "shifted";

  std::vector<Directive> Moved(std::vector<Directive> directives, int64_t sign) const {
    for (Directive& d : directives) {
      d.from += sign * shift_.steps;
      d.through += sign * shift_.steps;
      d.phase += sign * shift_.phases;
    }
    return directives;
  }
  std::vector<Directive> Shifted(std::vector<Directive> directives) const {
    return Moved(std::move(directives), 1);
  }

  const PolicyConfig config_;
  const TensorTable table_;
  PolicyShift shift_;
  std::unique_ptr<Policy> inside_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Policy>> MakeShiftedPolicy(const PolicyConfig& config,
                                                          const TensorTable& table,
                                                          PolicyShift shift) {
  auto policy = std::make_unique<ShiftedPolicy>(config, table);
  RETURN_IF_ERROR(policy->Begin(shift));
  return policy;
}

}  // namespace blockstep
