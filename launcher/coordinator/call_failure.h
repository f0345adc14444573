// Why a call did not reach the coordinator: gRPC says "failed to connect to all addresses", or what
// a library below it said, whatever the cause.
#pragma once

#include "absl/status/status.h"
#include "launcher/coordinator/channel.h"

namespace blockstep {

// UNAVAILABLE: nobody listens there. DEADLINE_EXCEEDED: somebody does, but does not answer.
// UNAUTHENTICATED: somebody does, but not with this TLS. Any other code than the first two of
// `status` comes back as it is.
absl::Status ExplainCallFailure(const ChannelOptions& channel, const absl::Status& status);

}  // namespace blockstep
