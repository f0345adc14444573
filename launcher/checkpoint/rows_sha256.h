// SHA-256 over matrices whose rows lie on several ranks: the same hash for every number of ranks.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/math.h"
#include "core/tensor/device_access.h"
#include "dist/communicator.h"

namespace blockstep {

struct RowsToHash {
  std::string preamble;  // hashed before the rows
  Range all;             // rows that the ranks have together; not empty
  Range mine;            // this rank's, ascending with the rank and covering `all` without a gap
  TensorView view;       // (mine.size(), cols); an empty one carries dtype and cols
};

// Hashes `head`, then preamble and unpadded rows of each matrix, in order. Collective: every rank
// lists the same matrices; the hash is returned on every rank. `what` names them in errors. Rows
// travel to rank 0 in pieces (at most 16 MiB are under way): all bytes - rank 0's own are sent in
// Exchange, which communicator counters show.
absl::StatusOr<std::string> Sha256OfRows(const std::string& head,
                                         const std::vector<RowsToHash>& matrices,
                                         const DeviceAccess& access, Communicator* group,
                                         const std::string& what);

// Memory that takes while it lasts on rank `rank`, beyond the rows themselves.
int64_t Sha256OfRowsBytes(const std::vector<RowsToHash>& matrices, int ranks, int rank);

}  // namespace blockstep
