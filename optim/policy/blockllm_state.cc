// BlockLlmPolicy's state as text.
#include <algorithm>
#include <cmath>

#include "core/base/status.h"
#include "optim/policy/blockllm.h"
#include "optim/policy/state_text.h"

namespace blockstep {

std::string BlockLlmPolicy::SaveState() const {
  StateWriter writer(name());
  writer.Ints("next_report", {next_report_});
  writer.Ints("next_step", {next_step_});
  writer.Ints("phase", {phase_});
  writer.Ints("selections_made", {selections_made_});
  std::vector<int64_t> selected;
  std::vector<double> squared, adam;
  for (const TensorStatistics& s : statistics_) {
    selected.push_back(s.selected);
    squared.push_back(s.squared_norm);
    adam.push_back(s.adam_squared_norm);
  }
  writer.Ints("selected", selected);
  writer.Doubles("squared_norm", squared);
  writer.Doubles("adam_squared_norm", adam);
  writer.Doubles("window", {window_.begin(), window_.end()});
  // Each selection: its first step, how many tensors, the tensors.
  std::vector<int64_t> flat;
  for (const Selection& s : selections_) {
    flat.push_back(s.from);
    flat.push_back(static_cast<int64_t>(s.tensors.size()));
    flat.insert(flat.end(), s.tensors.begin(), s.tensors.end());
  }
  writer.Ints("selections", flat);
  return writer.Finish();
}

absl::Status BlockLlmPolicy::LoadState(std::string_view state) {
  ASSIGN_OR_RETURN(const StateReader reader, StateReader::Parse(state, name()));
  constexpr int64_t kMost = int64_t{1} << 62;
  const auto count = static_cast<int64_t>(candidates_.size());
  ASSIGN_OR_RETURN(const int64_t next_report, reader.Int("next_report", 0, kMost));
  ASSIGN_OR_RETURN(const int64_t next_step, reader.Int("next_step", next_report, kMost));
  ASSIGN_OR_RETURN(const int64_t phase, reader.Int("phase", 0, kMost));
  ASSIGN_OR_RETURN(const int64_t selections_made, reader.Int("selections_made", 0, kMost));
  ASSIGN_OR_RETURN(const std::vector<int64_t> selected, reader.Ints("selected", count));
  ASSIGN_OR_RETURN(const std::vector<double> squared, reader.Doubles("squared_norm", count));
  ASSIGN_OR_RETURN(const std::vector<double> adam, reader.Doubles("adam_squared_norm", count));
  ASSIGN_OR_RETURN(const std::vector<double> window, reader.Doubles("window"));
  ASSIGN_OR_RETURN(const std::vector<int64_t> flat, reader.Ints("selections"));
  std::deque<Selection> selections;
  for (size_t i = 0; i < flat.size();) {
    const bool has_size = i + 1 < flat.size();
    const int64_t size = has_size ? flat[i + 1] : -1;
    if (size < 1 || size > static_cast<int64_t>(flat.size() - i - 2)) {
      return DataLoss("policy state: key selections: value ", i + 1, " is not a count of tensors");
    }
    const auto begin = flat.begin() + static_cast<int64_t>(i) + 2;
    selections.push_back({flat[i], {begin, begin + size}});
    for (int64_t tensor : selections.back().tensors) {
      if (!std::binary_search(candidates_.begin(), candidates_.end(), tensor)) {
        return DataLoss("policy state: key selections: tensor ", tensor,
                        " is not a candidate here");
      }
    }
    i += 2 + static_cast<size_t>(size);
  }
  if (selections.empty() != (next_report == 0)) {
    return DataLoss("policy state: ", selections.size(), " selections after ", next_report,
                    " reports");
  }
  if (static_cast<int64_t>(window.size()) > config_.patience) {
    return DataLoss("policy state: ", window.size(), " losses in the window, patience is ",
                    config_.patience);
  }
  for (int64_t i = 0; i < count; ++i) {
    if (selected[i] < 0 || !(squared[i] >= 0) || !std::isfinite(squared[i]) ||
        !std::isfinite(adam[i])) {
      return DataLoss("policy state: tensor ", candidates_[i],
                      ": expected finite numbers, the first two >= 0, got selected ", selected[i],
                      ", squared_norm ", squared[i], ", adam_squared_norm ", adam[i]);
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    statistics_[i].selected = selected[i];
    statistics_[i].squared_norm = squared[i];
    statistics_[i].adam_squared_norm = adam[i];
  }
  next_report_ = next_report;
  next_step_ = next_step;
  phase_ = phase;
  selections_made_ = selections_made;
  window_.assign(window.begin(), window.end());
  selections_ = std::move(selections);
  return absl::OkStatus();
}

}  // namespace blockstep
