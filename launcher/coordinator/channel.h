// How both sides of the coordinator's wire read addresses and set gRPC up: message limits,
// keepalive, credentials.
#pragma once

#include <netdb.h>

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

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

// Stream sockets' addresses of host:port, the host perhaps in brackets, as the system's resolver
// knows it; `flags`: of addrinfo, AI_PASSIVE to listen. NOT_FOUND has the resolver's words alone.
absl::StatusOr<Addresses> Resolve(const std::string& address, int flags);

void SetServerOptions(grpc::ServerBuilder* builder, double keepalive_s);
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsIdentity& tls);

}  // namespace blockstep
