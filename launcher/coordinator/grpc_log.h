// gRPC writes what it notes to stderr itself: beside our own explanation of the same failure, and
// where nobody reads the console it stands still in that write, with its locks held.
#pragma once

#include <functional>
#include <string>

namespace blockstep {

// From here on gRPC's lines go to `take` if GRPC_VERBOSITY or GRPC_TRACE asks for them, else
// nowhere. `take` is called on gRPC's threads and must not wait. Once, before gRPC is used.
void TakeGrpcLog(std::function<void(const std::string& line)> take);

}  // namespace blockstep
