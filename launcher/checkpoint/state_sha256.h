// One number for all optimizer state: SHA-256 over the update counter of every entry, then (tensor,
// rows, name, dtype, unpadded bytes) of every piece of state in the order of tensor, rows and name.
// Equal for every number of ranks, sharded or pinned.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/checkpoint/checkpoint.h"

namespace blockstep {

struct StateToHash {
  std::vector<StateSlice> states;
  std::vector<EntryCounter> counters;
};

// Collective; the hash is returned on every rank. Bytes sent: those of the state but rank 0's own.
absl::StatusOr<std::string> StateSha256(const TensorTable& table, const StateToHash& state,
                                        const DeviceAccess& access, Communicator* group);

// Memory that takes while it lasts on rank `rank`, beyond the state.
int64_t StateSha256Bytes(const TensorTable& table, const StateToHash& state, int ranks, int rank);

}  // namespace blockstep
