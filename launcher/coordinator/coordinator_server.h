// The coordinator: RunState behind gRPC (and HTTP, if asked for). Embedded in rank 0 or the whole
// of `blockstep coordinator`; the ranks cannot tell which.
#pragma once

#include <memory>
#include <string>

#include "launcher/coordinator/certs.h"
#include "launcher/coordinator/coordinator_service.h"
#include "launcher/coordinator/run_state.h"

namespace blockstep {

class HttpEndpoint;

struct CoordinatorServerOptions {
  std::string address = "127.0.0.1:0";  // port 0: a free one
  TlsIdentity tls;                      // empty: plaintext
  bool insecure = false;                // plaintext on an address that others reach
  double keepalive_s = 5;
  std::string http_address;  // host:port; empty: none. Off loopback it wants http_token
  std::string http_token;    // "Authorization: Bearer <token>"; empty: none is asked for
  RunStateOptions run;       // now_ms may be empty: the steady clock
};

class CoordinatorServer {
 public:
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(CoordinatorServerOptions options);
  ~CoordinatorServer();  // ends streams, waits at most 2 s for calls

  int port() const { return port_; }
  // The bind address with the real port; a wildcard host is the caller's to replace.
  std::string address() const;
  int http_port() const;
  RunState& state() { return *state_; }

 private:
  CoordinatorServer() = default;
  std::string host_;
  int port_ = 0;
  std::unique_ptr<RunState> state_;
  std::unique_ptr<CoordinatorService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<HttpEndpoint> http_;
};

}  // namespace blockstep
