#include "launcher/checkpoint/layout.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/base/str.h"

namespace blockstep {
namespace {

std::string FileName(const std::string& stem, size_t index, size_t count) {
  if (count == 1) return stem + ".safetensors";
  char text[64];
  std::snprintf(text, sizeof(text), "-%05zu-of-%05zu.safetensors", index + 1, count);
  return stem + text;
}

// Splits tensors [begin, end) of the layout into files of about `max_bytes`, in order.
void AddFiles(CheckpointLayout& layout, size_t begin, const std::string& stem, int64_t max_bytes) {
  std::vector<std::vector<size_t>> parts;
  int64_t bytes = 0;
  for (size_t i = begin; i < layout.tensors.size(); ++i) {
    const int64_t more = layout.tensors[i].bytes();
    if (parts.empty() || bytes + more > max_bytes) {
      parts.emplace_back();
      bytes = 0;
    }
    parts.back().push_back(i);
    bytes += more;
  }
  for (size_t g = 0; g < parts.size(); ++g) {
    std::vector<SafetensorsEntry> entries;
    for (const size_t i : parts[g]) {
      const PlannedTensor& t = layout.tensors[i];
      SafetensorsEntry entry{.name = t.name, .dtype = DTypeName(t.dtype)};
      entry.shape = t.vector ? std::vector<int64_t>{t.rows.size()}
                             : std::vector<int64_t>{t.rows.size(), t.cols};
      entries.push_back(std::move(entry));
    }
    const SafetensorsLayout file = MakeSafetensorsLayout(std::move(entries));
    for (const size_t i : parts[g]) {
      PlannedTensor& t = layout.tensors[i];
      t.file = static_cast<int>(layout.files.size());
      for (const SafetensorsEntry& entry : file.entries) {
        if (entry.name == t.name) t.offset = entry.offset;
      }
    }
    layout.files.push_back({FileName(stem, g, parts.size()), file.header, file.file_bytes});
  }
}

std::string IndexJson(const CheckpointLayout& layout) {
  nlohmann::ordered_json index;
  int64_t total = 0;
  for (const PlannedTensor& t : layout.tensors) total += t.bytes();
  index["metadata"]["total_size"] = total;
  for (const PlannedTensor& t : layout.tensors) {
    index["weight_map"][t.name] = layout.files[static_cast<size_t>(t.file)].name;
  }
  return index.dump(2) + "\n";
}

}  // namespace

CheckpointLayout PlanCheckpoint(const CheckpointContents& contents, int64_t max_file_bytes) {
  CheckpointLayout layout;
  const TensorTable& table = *contents.weights.table;
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    const TensorInfo& info = table.tensors[i];
    PlannedTensor t;
    t.name = info.name;
    t.tensor = static_cast<int>(i);
    t.dtype = contents.weights.owned(t.tensor).dtype;
    t.rows = {0, info.rows};
    t.cols = info.cols;
    t.vector = info.vector;
    layout.tensors.push_back(std::move(t));
  }
  AddFiles(layout, 0, "model", max_file_bytes);
  if (layout.files.size() > 1) layout.index_json = IndexJson(layout);

  const size_t weights = layout.tensors.size();
  for (size_t s = 0; s < contents.states.size(); ++s) {
    const StateSlice& slice = contents.states[s];
    const TensorInfo& info = table.tensors[static_cast<size_t>(slice.tensor)];
    const bool replicated = slice.layout == StateLayout::kReplicated;
    PlannedTensor t;
    t.name = Cat(info.name, ":", slice.rows.begin, "-", slice.rows.end, ":", slice.name);
    t.tensor = slice.tensor;
    t.state = slice.name;
    t.layout = slice.layout;
    t.dtype = slice.view.dtype;
    t.rows = replicated ? Range{0, 1} : slice.rows;
    t.cols = replicated ? slice.view.cols : info.cols;
    t.vector = !replicated && info.vector;
    t.source = static_cast<int>(s);
    layout.tensors.push_back(std::move(t));
  }
  AddFiles(layout, weights, "state/state", max_file_bytes);
  return layout;
}

}  // namespace blockstep
