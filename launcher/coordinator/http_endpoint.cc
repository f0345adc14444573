#include "launcher/coordinator/http_endpoint.h"

#include "core/base/status.h"
#include "launcher/coordinator/channel.h"
#include "launcher/coordinator/status_text.h"

namespace blockstep {
namespace {

// Takes as long whatever the first difference is.
bool SameToken(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) difference |= a[i] ^ b[i];
  return difference == 0;
}

HttpReply Json(const proto::StatusReply& status) {
  absl::StatusOr<std::string> json = StatusJson(status);
  if (!json.ok()) return {.status = 500};
  return {.type = "application/json", .body = *std::move(json)};
}

HttpReply Answer(const HttpEndpointOptions& o, const HttpRequest& request) {
  if (request.path == "/healthz") {
    const absl::Status able = o.state->Able();
    if (able.ok()) return {.body = "ok\n"};
    return {.status = 503, .body = "the coordinator cannot write its log\n"};
  }
  const bool metrics = request.path == "/metrics";
  if (!metrics && request.path != "/status") {
    return {.status = 404, .body = "expected /healthz, /status or /metrics\n"};
  }
  if (!o.token.empty() && !SameToken(request.authorization, "Bearer " + o.token)) {
    return {.status = 401, .body = "expected the bearer token\n", .challenge = "Bearer"};
  }
  const proto::StatusReply status = o.state->Status();
  return metrics ? HttpReply{.type = kPrometheusType, .body = PrometheusText(status)}
                 : Json(status);
}

}  // namespace

absl::Status CheckHttpAddress(const std::string& address, const std::string& token) {
  if (IsLoopback(address) || !token.empty()) return absl::OkStatus();
  return InvalidArgument("http_address ", address,
                         ": expected a token, since other hosts can reach it, got none");
}

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(HttpEndpointOptions o) {
  RETURN_IF_ERROR(CheckHttpAddress(o.address, o.token));
  ASSIGN_OR_RETURN(auto server, HttpServer::Start({.address = o.address,
                                                   .answer = [o](const HttpRequest& request) {
                                                     return Answer(o, request);
                                                   }}));
  return std::unique_ptr<HttpEndpoint>(new HttpEndpoint(std::move(server)));
}

}  // namespace blockstep
