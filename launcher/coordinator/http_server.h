// As much of HTTP/1.1 as a reader of a few small pages needs: GET without a body, one request a
// connection. One thread polls them all, so a client that sends nothing, one byte a second or a
// megabyte of header takes a place for a while and nobody's time; when places are short the oldest
// connection goes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace blockstep {

struct HttpRequest {
  std::string path;           // without a query
  std::string authorization;  // the header; empty: none
};

struct HttpReply {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
  std::string challenge;  // WWW-Authenticate, of a 401
};

struct HttpServerOptions {
  std::string address;  // host:port; port 0: a free one
  std::function<HttpReply(const HttpRequest&)> answer;
  size_t request_bytes = 8192;  // line and headers
  size_t connections = 32;
  int deadline_ms = 2000;  // of a whole connection
};

class HttpServer {
 public:
  // INVALID_ARGUMENT: no host:port. RESOURCE_EXHAUSTED: cannot listen there.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(HttpServerOptions options);
  ~HttpServer();
  int port() const;

 private:
  class Loop;
  explicit HttpServer(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace blockstep
