// absl::Status and grpc::Status number their codes alike.
#pragma once

#include "absl/status/status.h"
#include "core/base/status.h"
#include "grpcpp/support/status.h"

namespace blockstep {

// Messages travel in HTTP/2 trailers, whose limit of 8 KiB counts for everything in them; what a
// peer sent may be quoted in one at any length.
inline constexpr size_t kMaxStatusText = 2000;

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

}  // namespace blockstep
