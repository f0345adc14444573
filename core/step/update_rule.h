// An optimizer as the step sees it: declared state, and an update of the rows one rank owns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/exact_sum.h"
#include "core/device/stream.h"
#include "core/tensor/tensor_table.h"
#include "core/tensor/tensor_view.h"

namespace blockstep {

struct KernelTable;

// One piece of state of an active entry, as plan, checkpoint and resharding see it.
enum class StateLayout : uint8_t {
  kLikeTensor,  // (rows, cols) of the entry, sharded along rows as the tensor is
  kReplicated,  // (1, n), the same on every rank of the group
};
struct StateSpec {
  std::string name;  // "m"
  DType dtype = DType::kF32;
  StateLayout layout = StateLayout::kLikeTensor;
  int64_t replicated_elements = 0;
};

struct UpdateArgs {
  TensorView param;                   // (rows, cols): the owner's active rows, in place
  TensorView grad;                    // (rows, cols) fp32: reduced sum
  std::vector<TensorView> states;     // by StateSpec
  int64_t step = 1;                   // updates of this entry so far, this one included
  float lr = 0;                       // schedule * lr_scale, read at update time
  bool decay = true;                  // TensorInfo::decay
  const float* grad_scale = nullptr;  // device scalar
};

class UpdateRule {
 public:
  virtual ~UpdateRule() = default;
  virtual std::string_view name() const = 0;
  virtual std::vector<StateSpec> States(const TensorInfo& tensor) const = 0;
  // Updates inside backward, so it refuses global-norm clipping and non-finite rollback.
  virtual bool commits_in_backward() const { return false; }
  virtual void Update(const KernelTable& kernels, Stream& stream, const UpdateArgs& args) const = 0;

  // Whether its states are moments with a direction M/sqrt(V + eps), whose squared norm over the
  // same rows, after Update with the same args, MeasureDirection adds to *sum.
  virtual bool has_direction() const { return false; }
  virtual void MeasureDirection(const KernelTable&, Stream&, const UpdateArgs&, ExactSum*) const {}
};

}  // namespace blockstep
