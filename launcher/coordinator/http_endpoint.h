// HTTP for people and Prometheus: /healthz, /status (JSON), /metrics. Reads only.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "launcher/coordinator/run_state.h"

namespace blockstep {

struct HttpEndpointOptions {
  std::string address;  // host:port; port 0: a free one
  std::string token;    // of /status and /metrics; must be set off loopback
  RunState* state = nullptr;
};

class HttpEndpoint {
 public:
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(HttpEndpointOptions options);
  ~HttpEndpoint();
  int port() const;

 private:
  struct Impl;
  explicit HttpEndpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What /metrics answers.
std::string PrometheusText(const proto::StatusReply& status);

}  // namespace blockstep
