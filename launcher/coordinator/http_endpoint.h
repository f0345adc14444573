// HTTP for people and Prometheus: /healthz, /status (JSON), /metrics. Reads only.
#pragma once

#include <memory>
#include <string>

#include "launcher/coordinator/http_server.h"
#include "launcher/coordinator/run_state.h"

namespace blockstep {

struct HttpEndpointOptions {
  std::string address;  // host:port; port 0: a free one
  std::string token;    // of /status and /metrics; must be set off loopback
  RunState* state = nullptr;
};

// INVALID_ARGUMENT if others reach `address` and there is no token.
absl::Status CheckHttpAddress(const std::string& address, const std::string& token);

class HttpEndpoint {
 public:
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(HttpEndpointOptions options);
  int port() const { return server_->port(); }

 private:
  explicit HttpEndpoint(std::unique_ptr<HttpServer> server) : server_(std::move(server)) {}
  std::unique_ptr<HttpServer> server_;
};

}  // namespace blockstep
