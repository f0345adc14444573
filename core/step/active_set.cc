#include "core/step/active_set.h"

#include "core/base/status.h"
#include "core/tensor/sharding.h"

namespace blockstep {

int64_t ActiveSet::Elements(const TensorTable& table) const {
  int64_t sum = 0;
  for (const ActiveEntry& e : entries) sum += e.rows.size() * table.tensors[e.tensor].cols;
  return sum;
}

std::string ActiveSet::Text() const {
  std::string text;
  for (const ActiveEntry& e : entries) {
    text += Cat(e.tensor, " ", e.rows.begin, " ", e.rows.end, " ", static_cast<int>(e.role), " ",
                e.rule, " ", e.lr_scale, "\n");
  }
  return text;
}

absl::Status Validate(const ActiveSet& set, const TensorTable& table) {
  const ActiveEntry* last = nullptr;
  for (const ActiveEntry& e : set.entries) {
    if (e.tensor < 0 || e.tensor >= static_cast<int>(table.tensors.size())) {
      return InvalidArgument("active set: expected a tensor index below ", table.tensors.size(),
                             ", got ", e.tensor);
    }
    const TensorInfo& t = table.tensors[e.tensor];
    if (e.rows.empty() || e.rows.begin < 0 || e.rows.end > t.rows) {
      return InvalidArgument("active set: ", t.name, ": expected a non-empty row range inside [0, ",
                             t.rows, "), got [", e.rows.begin, ", ", e.rows.end, ")");
    }
    const int64_t grain = EntryRows(t.cols);
    if (e.rows.begin % grain != 0 || (e.rows.end % grain != 0 && e.rows.end != t.rows)) {
      return InvalidArgument("active set: ", t.name, ": expected row bounds that are multiples of ",
                             grain, ", or the last row ", t.rows, ", got [", e.rows.begin, ", ",
                             e.rows.end, ")");
    }
    if (last != nullptr &&
        (last->tensor > e.tensor || (last->tensor == e.tensor && last->rows.end > e.rows.begin))) {
      return InvalidArgument("active set: ", t.name, " rows [", e.rows.begin, ", ", e.rows.end,
                             ") overlap or precede the previous entry");
    }
    last = &e;
  }
  return absl::OkStatus();
}

ActiveEntry WholeTensor(const TensorTable& table, int tensor, Role role) {
  return {.tensor = tensor, .rows = {0, table.tensors[tensor].rows}, .role = role};
}

}  // namespace blockstep
