// Memory that units are gathered into, with the state machine that guards it:
//
//   kEmpty --StartGather--> kGathering --Acquire--> kInUse --Release--> kEmpty
//
// On the comm stream a gather starts after the buffer's last reader (released) and after the
// updates of the rows it takes; on the compute stream work starts after ready. "Ready" is that
// event, not a state: nobody on the host waits for it. A version, the count of publications that
// touched the unit, travels with the contents: using weights that were gathered before an update is
// a bug and CHECKs.
#pragma once

#include <string>
#include <vector>

#include "core/device/arena.h"
#include "core/device/backend.h"
#include "core/tensor/sharding.h"
#include "dist/communicator.h"

namespace blockstep {

class GatherBuffer {
 public:
  enum class State { kEmpty, kGathering, kInUse };

  // Bytes that `tensors` take in a buffer: each rounded up to 256.
  static int64_t BytesFor(const TensorTable& table, const std::vector<int>& tensors);

  GatherBuffer(void* data, int64_t bytes) : data_(data), bytes_(bytes) {}

  State state() const { return state_; }
  int unit() const { return unit_; }
  int64_t last_release() const { return last_release_; }

  // One tensor of a gather: its index, the rows this rank owns, and when they were last written.
  struct Source {
    int tensor = 0;
    TensorView owned;
    Event written;
  };
  // kEmpty -> kGathering. Copies the own rows in and gathers the others', all on group.stream().
  void StartGather(int unit, int64_t version, const std::vector<Source>& sources,
                   const TensorTable& table, const Backend& backend, Communicator& group,
                   std::string what);
  // kGathering -> kInUse. The event after which contents are whole.
  const Event& Acquire(int64_t version);
  // Place of each source, in order. Only kInUse.
  const std::vector<TensorView>& views() const;
  // kInUse -> kEmpty after the work on `compute` so far. `count` orders releases.
  void Release(Stream& compute, const Backend& backend, int64_t count);

 private:
  void* data_;
  int64_t bytes_;
  State state_ = State::kEmpty;
  int unit_ = -1;
  int64_t version_ = -1;
  int64_t last_release_ = 0;
  std::vector<TensorView> views_;
  Event ready_, released_;
};

}  // namespace blockstep
