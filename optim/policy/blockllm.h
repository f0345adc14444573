// BlockLLM (arXiv 2406.17296) at tensor granularity.
//
// Step 0 is a sweep: norms of all candidates, no update. Its report brings the first selection, for
// steps 1 .. 1 + lag; the report of step t then brings the directive of step t + 1 + lag, so that a
// decision taken at t acts `1 + lag` steps later. Every reported norm, of train and probe entries,
// enters the dictionary of norms that the next selection reads.
//
// Repaired rule (default):
//   switch   phi_t >= mean of the m losses before it, phi_t itself not among them; the window is
//            cleared at a switch and holds only losses of steps that the current selection trained
//   score    norm of the averaged raw gradient (or RMS, or Adam-processed), over
//            f = (1 + steps trained) / (1 + t)
//   a selection equal to the current one is no switch: phase and optimizer state go on
// mode kPaper, Algorithms 1 and 2 as printed:
//   switch   phi_t >= mean of the last m losses, phi_t among them; nothing is cleared
//   score    norm of the Adam-processed gradient over f = selections that took it / selections
//   every selection re-initialises the optimizer (a new phase), also an equal one
// Both: a step without tokens, with non-finite gradients or loss is no loss of the window; the
// first m losses only fill it.
#pragma once

#include <deque>

#include "optim/policy/blockllm_select.h"
#include "optim/policy/policy.h"

namespace blockstep {

class BlockLlmPolicy : public Policy {
 public:
  BlockLlmPolicy(const PolicyConfig& config, const TensorTable& table);
  std::string_view name() const override { return "blockllm"; }
  std::vector<Directive> Start() override;
  std::vector<Directive> OnReport(const StepReport& report) override;
  std::string SaveState() const override;
  absl::Status LoadState(std::string_view state) override;
  std::vector<Directive> Continue(int64_t step, std::vector<Directive> issued) override;

 private:
  struct Selection {
    int64_t from = 0;              // first step it trains
    std::vector<int64_t> tensors;  // indices into the table, ascending; without `always_`
  };

  void CountTrainedStep(int64_t step);
  void UpdateNorms(const StepReport& report);
  bool WantsSwitch(const StepReport& report);
  void Select(int64_t step);
  // Directives of the steps from `from` to before next_step_.
  std::vector<Directive> Train(int64_t from) const;
  Directive TrainDirective(size_t selection, int64_t from, int64_t through) const;

  const PolicyConfig config_;
  const TensorTable table_;
  std::vector<int> candidates_;  // table indices, ascending
  std::vector<int> always_;

  // The state: all that SaveState holds.
  std::vector<TensorStatistics> statistics_;  // by position in candidates_
  // Front: what the step reported last was trained with; back: what the next directive gets. More
  // than one while a decision is on its way.
  std::deque<Selection> selections_;
  std::deque<double> window_;
  int64_t next_report_ = 0;
  int64_t next_step_ = 0;  // first that is not decided; may lie beyond total_steps
  int64_t phase_ = 0;
  int64_t selections_made_ = 0;
};

}  // namespace blockstep
