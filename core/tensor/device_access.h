// How host code reads and fills a view of device memory: in place where the host can, else through
// copies that are done on return. For loading, saving and hashing.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/device/backend.h"
#include "core/tensor/tensor_view.h"

namespace blockstep {

struct DeviceAccess {
  // Null: views are host memory.
  const Backend* backend = nullptr;
  // Orders the copies; whoever else works on a view has been waited for. One thread at a time.
  Stream* stream = nullptr;

  // Host memory that holds `view` without gaps: the view itself, or a copy in `buffer`.
  absl::StatusOr<const char*> Read(TensorView view, std::vector<char>& buffer) const;

  // Writes rows [first, first + rows.rows) of the view that is filled; no gaps but the view's own.
  using FillRows = std::function<absl::Status(TensorView rows, int64_t first)>;
  // Fills `view` in order, at most 4 MiB of rows (or one row) at a time.
  absl::Status Fill(TensorView view, const FillRows& fill) const;

 private:
  bool in_place() const { return backend == nullptr || backend->device.host_accessible; }
  absl::Status Copy(CopyDirection direction, TensorView device, void* host) const;
};

}  // namespace blockstep
