#include "core/tensor/device_access.h"

#include <algorithm>
#include <cstring>

#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr int64_t kFillBytes = int64_t{4} << 20;

int64_t RowBytes(const TensorView& view) { return view.cols * DTypeSize(view.dtype); }

}  // namespace

absl::Status DeviceAccess::Copy(CopyDirection direction, TensorView device, void* host) const {
  backend->device.copy(*stream, {.direction = direction,
                                 .device = device.data,
                                 .device_pitch = device.ld * DTypeSize(device.dtype),
                                 .host = host,
                                 .host_pitch = RowBytes(device),
                                 .row_bytes = RowBytes(device),
                                 .rows = device.rows});
  return stream->Synchronize();
}

absl::StatusOr<const char*> DeviceAccess::Read(TensorView view, std::vector<char>& buffer) const {
  if (in_place() && view.contiguous()) return static_cast<const char*>(view.data);
  buffer.resize(static_cast<size_t>(view.bytes()));
  if (!in_place()) {
    RETURN_IF_ERROR(Copy(CopyDirection::kToHost, view, buffer.data()));
    return buffer.data();
  }
  for (int64_t r = 0; r < view.rows; ++r) {
    std::memcpy(buffer.data() + r * RowBytes(view), view.Rows(r, r + 1).data,
                static_cast<size_t>(RowBytes(view)));
  }
  return buffer.data();
}

absl::Status DeviceAccess::Fill(TensorView view, const FillRows& fill) const {
  if (view.bytes() == 0) return absl::OkStatus();
  const int64_t step = std::max<int64_t>(1, kFillBytes / RowBytes(view));
  std::vector<char> buffer;
  for (int64_t first = 0; first < view.rows; first += step) {
    const TensorView rows = view.Rows(first, std::min(first + step, view.rows));
    if (in_place()) {
      RETURN_IF_ERROR(fill(rows, first));
      continue;
    }
    buffer.resize(static_cast<size_t>(rows.bytes()));
    RETURN_IF_ERROR(fill(TensorView::Of(buffer.data(), view.dtype, rows.rows, view.cols), first));
    RETURN_IF_ERROR(Copy(CopyDirection::kToDevice, rows, buffer.data()));
  }
  return absl::OkStatus();
}

}  // namespace blockstep
