#include "optim/policy/blockllm.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"
#include "core/base/str.h"
#include "optim/policy/blocks.h"

namespace blockstep {

BlockLlmPolicy::BlockLlmPolicy(const PolicyConfig& config, const TensorTable& table)
    : config_(config), table_(table) {
  for (int i = 0; i < static_cast<int>(table.tensors.size()); ++i) {
    const TensorPolicy treatment = TensorPolicyOf(config, table, i);
    if (treatment == TensorPolicy::kAlways) always_.push_back(i);
    if (treatment != TensorPolicy::kAsBlocks) continue;
    candidates_.push_back(i);
    statistics_.push_back({.elements = table.tensors[i].size()});
  }
}

std::vector<Directive> BlockLlmPolicy::Start() {
  Directive d;
  d.kind = DirectiveKind::kSweep;
  d.sets = SweepPasses(table_, candidates_, SweepElements(config_, table_));
  d.label = Cat("sweep of ", candidates_.size(), " tensors");
  next_step_ = 1;
  return {d};
}

std::vector<Directive> BlockLlmPolicy::OnReport(const StepReport& report) {
  CHECK_EQ(report.step, next_report_);
  ++next_report_;
  const int64_t t = report.step;
  CountTrainedStep(t);
  UpdateNorms(report);
  // Not short-circuited: the sweep's loss enters the paper's window.
  const bool wants_switch = WantsSwitch(report);
  if (t == 0 || wants_switch) Select(t);
  const int64_t from = next_step_;
  next_step_ = std::max(from, t + 2 + config_.lag);  // a continued run may have a shorter lag
  return Train(from);
}

std::vector<Directive> BlockLlmPolicy::Continue(int64_t step, std::vector<Directive> issued) {
  const int64_t from = issued.empty() ? step : issued.back().through + 1;
  for (Directive& directive : Train(from)) issued.push_back(std::move(directive));
  return TruncateAt(config_.total_steps, std::move(issued));
}

std::vector<Directive> BlockLlmPolicy::Train(int64_t from) const {
  std::vector<Directive> directives;
  for (size_t i = 0; i < selections_.size(); ++i) {
    const bool last = i + 1 == selections_.size();
    const int64_t begin = std::max(from, selections_[i].from);
    const int64_t end = last ? next_step_ : std::min(next_step_, selections_[i + 1].from);
    if (begin < end) directives.push_back(TrainDirective(i, begin, end - 1));
  }
  return TruncateAt(config_.total_steps, std::move(directives));
}

void BlockLlmPolicy::CountTrainedStep(int64_t step) {
  while (selections_.size() > 1 && selections_[1].from <= step) selections_.pop_front();
  if (step == 0 || config_.mode == BlockLlmMode::kPaper) return;
  const std::vector<int64_t>& trained = selections_.front().tensors;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    statistics_[i].selected += std::binary_search(trained.begin(), trained.end(), candidates_[i]);
  }
}

void BlockLlmPolicy::UpdateNorms(const StepReport& report) {
  for (const TensorNorm& norm : report.norms) {
    const auto at = std::lower_bound(candidates_.begin(), candidates_.end(), norm.tensor);
    if (at == candidates_.end() || *at != norm.tensor) continue;
    TensorStatistics& s = statistics_[at - candidates_.begin()];
    if (std::isfinite(norm.squared_norm) && norm.squared_norm >= 0)
      s.squared_norm = norm.squared_norm;
    // Moments that a switch on its way will drop say nothing about the selection after it.
    if (norm.role != Role::kProbe && selections_.size() == 1 && norm.adam_squared_norm >= 0 &&
        std::isfinite(norm.adam_squared_norm)) {
      s.adam_squared_norm = norm.adam_squared_norm;
    }
  }
}

bool BlockLlmPolicy::WantsSwitch(const StepReport& report) {
  if (report.tokens <= 0 || report.nonfinite > 0 || !std::isfinite(report.loss_sum)) return false;
  const double loss = report.loss_sum / static_cast<double>(report.tokens);
  const bool paper = config_.mode == BlockLlmMode::kPaper;
  if (!paper && (report.step == 0 || selections_.size() > 1)) return false;
  const auto patience = static_cast<size_t>(config_.patience);
  const auto push = [&] {
    window_.push_back(loss);
    if (window_.size() > patience) window_.pop_front();
  };
  if (paper) push();
  bool wants_switch = false;
  if (window_.size() == patience) {
    double sum = 0;
    for (double earlier : window_) sum += earlier;
    wants_switch = loss >= sum / static_cast<double>(patience);
  }
  if (!paper) {
    if (wants_switch) {
      window_.clear();
    } else {
      push();
    }
  }
  return wants_switch;
}

void BlockLlmPolicy::Select(int64_t step) {
  const bool paper = config_.mode == BlockLlmMode::kPaper;
  const SelectionRule rule{.mode = config_.mode,
                           .score = paper ? BlockLlmScore::kAdam : config_.score,
                           .sparsity = config_.sparsity,
                           .count = paper ? selections_made_ : step};
  Selection selection;
  selection.from = next_step_;
  for (int i : SelectTensors(rule, statistics_)) {
    selection.tensors.push_back(candidates_[i]);
    if (paper) ++statistics_[i].selected;
  }
  ++selections_made_;
  if (!paper && !selections_.empty() && selections_.back().tensors == selection.tensors) return;
  for (TensorStatistics& s : statistics_) s.adam_squared_norm = -1;
  ++phase_;
  selections_.push_back(std::move(selection));
}

Directive BlockLlmPolicy::TrainDirective(size_t selection, int64_t from, int64_t through) const {
  const std::vector<int64_t>& selected = selections_[selection].tensors;
  std::vector<int> tensors(selected.begin(), selected.end());
  tensors.insert(tensors.end(), always_.begin(), always_.end());
  const ActiveSet set = MakeSet(table_, tensors);
  Directive d;
  d.from = from;
  d.through = through;
  d.phase = phase_ - static_cast<int64_t>(selections_.size() - 1 - selection);
  d.sets.assign(config_.groups, set);
  if (config_.probes_per_step > 0) {
    const int cut = config_.probe_scope == ProbeScope::kAll ? 0 : CutUnit(table_, set);
    for (int c : candidates_) {
      if (table_.tensors[c].unit < cut) continue;
      if (!std::binary_search(selected.begin(), selected.end(), c)) d.probe_candidates.push_back(c);
    }
    if (!d.probe_candidates.empty()) d.probes_per_step = config_.probes_per_step;
  }
  d.label = Cat(set.entries.size(), " tensors, ", set.Elements(table_), " elements");
  return d;
}

}  // namespace blockstep
