// Explains why a call did not reach the coordinator. gRPC reports "failed to connect to all
// addresses", or a message of a library below it, whatever the cause.
#pragma once

#include "absl/status/status.h"
#include "launcher/coordinator/channel.h"

namespace blockstep {

// UNAVAILABLE: no connection. DEADLINE_EXCEEDED: connected, but no response. UNAUTHENTICATED:
// connected, but the TLS settings do not match. A `status` that is neither UNAVAILABLE nor
// DEADLINE_EXCEEDED is returned unchanged.
absl::Status ExplainCallFailure(const ChannelOptions& channel, const absl::Status& status);

}  // namespace blockstep
