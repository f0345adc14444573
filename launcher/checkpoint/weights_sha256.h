// One number for all weights: SHA-256 over (name, dtype, shape, unpadded bytes) of every tensor,
// sorted by name. Equal for every number of ranks, sharded or pinned.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "launcher/checkpoint/checkpoint.h"

namespace blockstep {

// Collective; the hash is returned on every rank. Bytes sent: those of the weights but rank 0's
// own.
absl::StatusOr<std::string> WeightsSha256(const OwnedWeights& weights, Communicator* group);

// Memory that takes while it lasts on rank `rank`, beyond the weights.
int64_t WeightsSha256Bytes(const OwnedWeights& weights, int ranks, int rank);

// The same of a folder in Hugging Face layout (a checkpoint, an export); one process.
absl::StatusOr<std::string> WeightsSha256OfFolder(const std::string& folder);

}  // namespace blockstep
