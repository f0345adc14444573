// How both sides of the coordinator's wire set gRPC up: message limits, keepalive, credentials.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/grpcpp.h"
#include "launcher/coordinator/certs.h"

namespace blockstep {

// Includes framing (gRPC's own default of 4 MiB does too).
inline constexpr int kMaxMessageBytes = 16 << 20;

struct ChannelOptions {
  std::string address;  // host:port
  TlsIdentity tls;      // empty: plaintext
  // The name that the server's certificate must hold; empty: the address's host.
  std::string tls_name;
  double keepalive_s = 5;
};

std::shared_ptr<grpc::Channel> MakeChannel(const ChannelOptions& options);

// INVALID_ARGUMENT if `address` is reachable from outside without TLS and `insecure` is not set.
absl::Status CheckBind(const std::string& address, bool tls, bool insecure);
bool IsLoopback(const std::string& address);

void SetServerOptions(grpc::ServerBuilder* builder, double keepalive_s);
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsIdentity& tls);

}  // namespace blockstep
