// absl::Status and grpc::Status number their codes alike.
#pragma once

#include "absl/status/status.h"
#include "core/base/status.h"
#include "grpcpp/support/status.h"

namespace blockstep {

inline grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(static_cast<int>(status.code())),
          std::string(status.message())};
}

// `where`: what was called, for the message.
inline absl::Status FromGrpc(const grpc::Status& status, std::string_view where) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(static_cast<int>(status.error_code())),
                      Cat(where, ": ", status.error_message()));
}

}  // namespace blockstep
