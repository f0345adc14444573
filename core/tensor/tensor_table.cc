#include "core/tensor/tensor_table.h"

namespace blockstep {

int TensorTable::Find(std::string_view name) const {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

int64_t TensorTable::parameters() const {
  int64_t sum = 0;
  for (const TensorInfo& t : tensors) sum += t.size();
  return sum;
}

}  // namespace blockstep
