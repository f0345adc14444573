// The status of a call to the coordinator: as gRPC has it, as absl has it, and in words where it
// did not get there.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "core/base/status.h"
#include "grpcpp/support/status.h"
#include "launcher/coordinator/channel.h"

namespace blockstep {

// Messages travel in HTTP/2 trailers, whose limit of 8 KiB counts for everything in them; what a
// peer sent may be quoted in one at any length.
inline constexpr size_t kMaxStatusText = 2000;

// absl::Status and grpc::Status number their codes alike.
inline grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(static_cast<int>(status.code())),
          std::string(status.message().substr(0, kMaxStatusText))};
}

// `where`: what was called, for the message.
inline absl::Status FromGrpc(const grpc::Status& status, std::string_view where) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(static_cast<int>(status.error_code())),
                      Cat(where, ": ", status.error_message()));
}

// Explains why a call did not reach the coordinator. gRPC reports "failed to connect to all
// addresses", or a message of a library below it, whatever the cause; so this connects by itself
// and looks at what answers, which takes up to two seconds where nothing does.
// UNAVAILABLE: no connection. DEADLINE_EXCEEDED: connected, but no response. UNAUTHENTICATED:
// connected, but the TLS settings do not match. A `status` that is neither UNAVAILABLE nor
// DEADLINE_EXCEEDED is returned unchanged, and so is one that the connection does not explain.
absl::Status ExplainCallFailure(const ChannelOptions& channel, const absl::Status& status);

}  // namespace blockstep
