#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "launcher/config/step_proto.h"
#include "launcher/coordinator/http_server.h"
#include "launcher/coordinator/status_text.h"
#include "tests/launcher/coordinator/client_runs.h"
#include "tests/launcher/coordinator/failing_disk.h"
#include "tests/launcher/coordinator/raw_wire.h"

namespace blockstep {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Page {
  std::string head, body;
};

Page Get(const CoordinatorServer& server, const std::string& path, const std::string& header = "") {
  const std::string text =
      SendToPort(server.http_port(), Cat("GET ", path, " HTTP/1.1\r\nHost: x\r\n", header, "\r\n"));
  const size_t end = text.find("\r\n\r\n");
  EXPECT_NE(end, std::string::npos) << text;
  const Page page{.head = text.substr(0, end), .body = text.substr(end + 4)};
  EXPECT_THAT(page.head, HasSubstr(Cat("Content-Length: ", page.body.size(), "\r\n")));
  return page;
}

CoordinatorServerOptions WithHttp(const std::string& log = "") {
  CoordinatorServerOptions options = ServerOptions(log);
  options.http_address = "127.0.0.1:0";
  return options;
}

TEST(Http, ServesHealthStatusAndMetrics) {
  const auto server = Started(WithHttp());
  const Client client = Joined(ClientOptions(server->address(), 0, 1));
  for (int64_t step = 0; step < 4; ++step) ASSERT_TRUE(client->Report(ReportOf(step)).ok());
  ASSERT_TRUE(client->Await(5).ok());

  EXPECT_EQ(Get(*server, "/healthz").body, "ok\n");
  const Page text = Get(*server, "/status?pretty=1");
  EXPECT_THAT(text.head, HasSubstr("\r\nContent-Type: application/json\r\n"));
  const auto status = nlohmann::json::parse(text.body);
  EXPECT_EQ(status["run_id"], "run-1");
  EXPECT_EQ(status["next_step"], "4");  // protobuf's JSON writes 64-bit numbers as text
  EXPECT_EQ(status["bad_steps"], "0");  // zeros too
  const Page metrics = Get(*server, "/metrics");
  EXPECT_THAT(metrics.head,
              HasSubstr("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(metrics.body, HasSubstr("# TYPE blockstep_step gauge\nblockstep_step 4\n"));
  EXPECT_THAT(metrics.body, HasSubstr("\nblockstep_tokens_total 40\n"));
  EXPECT_THAT(metrics.body, HasSubstr("\nblockstep_rank_connected{rank=\"0\"} 1\n"));
  EXPECT_THAT(Get(*server, "/other").head, StartsWith("HTTP/1.1 404 "));
}

// Every line is of the format, each sample's HELP and TYPE come before it, once, and names have the
// units and endings that Prometheus asks for.
TEST(Http, MetricsAreWhatPrometheusReads) {
  proto::StatusReply status;
  status.set_run_id("quote \" slash \\ line \n end");
  status.set_loss(std::nan(""));
  status.set_tokens(123456789);
  status.add_ranks()->set_rank(0);
  status.add_ranks()->set_rank(1);
  std::istringstream lines(PrometheusText(status));
  const std::regex help("# HELP (blockstep_[a-z_]+) [A-Z0-9].*");
  const std::regex type("# TYPE (blockstep_[a-z_]+) (gauge|counter)");
  const std::regex sample(
      "(blockstep_[a-z_]+)"
      R"re((\{[a-z_]+="([^"\\]|\\["\\n])*"(,[a-z_]+="([^"\\]|\\["\\n])*")*\})?)re"
      " (-?[0-9.]+(e[+-]?[0-9]+)?|NaN|[+-]Inf)");
  std::string line, current;
  std::set<std::string> seen;
  std::smatch match;
  while (std::getline(lines, line)) {
    if (std::regex_match(line, match, help)) {
      current = match[1];
      EXPECT_TRUE(seen.insert(current).second) << current << " comes twice";
      ASSERT_TRUE(std::getline(lines, line) && std::regex_match(line, match, type)) << line;
      EXPECT_EQ(match[1], current);
      EXPECT_EQ(match[2] == "counter", current.ends_with("_total")) << current;
    } else {
      ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
      EXPECT_EQ(match[1], current);
    }
  }
  EXPECT_GE(seen.size(), 14u);
  EXPECT_THAT(PrometheusText(status), HasSubstr("\nblockstep_tokens_total 123456789\n"));
  EXPECT_THAT(PrometheusText(status), HasSubstr("\nblockstep_loss_nats NaN\n"));
}

TEST(Http, TokenGuardsWhatItSays) {
  CoordinatorServerOptions options = WithHttp();
  options.http_address = "0.0.0.0:0";
  EXPECT_EQ(CoordinatorServer::Start(options).status().code(), absl::StatusCode::kInvalidArgument);
  options.http_token = "secret";
  const auto server = Started(options);
  const auto first_line = [&](const std::string& path, const std::string& header) {
    const std::string head = Get(*server, path, header).head;
    return head.substr(0, head.find("\r\n"));
  };
  EXPECT_EQ(first_line("/healthz", ""), "HTTP/1.1 200 OK");
  EXPECT_EQ(first_line("/status", ""), "HTTP/1.1 401 Unauthorized");
  EXPECT_THAT(Get(*server, "/status").head, HasSubstr("WWW-Authenticate: Bearer"));
  EXPECT_EQ(first_line("/metrics", "Authorization: Bearer secreT\r\n"),
            "HTTP/1.1 401 Unauthorized");
  EXPECT_EQ(first_line("/metrics", "authorization:Bearer secret\r\n"), "HTTP/1.1 200 OK");
}

// What grpc.health.v1 answers for a service: 1 SERVING, 2 NOT_SERVING.
int GrpcHealth(const CoordinatorServer& server, const std::string& service) {
  const std::string request =
      service.empty() ? "" : "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
  const RawReply reply =
      CallBytes({.address = server.address()}, "/grpc.health.v1.Health/Check", request);
  EXPECT_TRUE(reply.status.ok()) << reply.status.error_message();
  return reply.bytes.size() == 2 && reply.bytes[0] == '\x08' ? reply.bytes[1] : -1;
}

TEST(Http, HealthSaysThatNoReportCanBeTaken) {
  const auto server = Started(WithHttp(FreshPath("http_health.log")));
  const Client client = Joined(ClientOptions(server->address(), 0, 1));
  const auto stub = RawStub(*server);
  const auto expect_healthy = [&](bool healthy) {
    EXPECT_EQ(Get(*server, "/healthz").head.substr(0, 12),
              healthy ? "HTTP/1.1 200" : "HTTP/1.1 503");
    for (const char* service : {"", "blockstep.proto.Coordinator"}) {
      EXPECT_EQ(GrpcHealth(*server, service), healthy ? 1 : 2) << service;
    }
  };
  // Answered, so whatever the call did to the log is seen by now.
  const auto report = [&](int64_t step) {
    proto::ReportRequest request;
    *request.mutable_identity() = IdentityOf(1);
    *request.mutable_report() = ToProto(ReportOf(step));
    proto::ReportReply reply;
    RawCall call;
    return stub->Report(&call.context, request, &reply).error_code();
  };
  expect_healthy(true);
  ASSERT_EQ(report(0), grpc::StatusCode::OK);
  expect_healthy(true);
  FailDisk({.nth = 1, .error = ENOSPC, .times = 1 << 30});
  ASSERT_EQ(report(1), grpc::StatusCode::RESOURCE_EXHAUSTED);
  expect_healthy(false);
  ASSERT_EQ(report(1), grpc::StatusCode::RESOURCE_EXHAUSTED);
  expect_healthy(false);
  MendDisk();
  ASSERT_EQ(report(1), grpc::StatusCode::OK);
  expect_healthy(true);
}

// Connections of this process; the server's ends are in it too.
class Sockets {
 public:
  explicit Sockets(int port) : port_(port) {}
  ~Sockets() {
    for (const int raw : open_) close(raw);
  }
  int Connect() {
    open_.push_back(ConnectTo(port_));
    return open_.back();
  }

 private:
  const int port_;
  std::vector<int> open_;
};

TEST(Http, NobodyCanKeepOthersOut) {
  const auto server = Started(WithHttp());
  Sockets silent(server->http_port());
  // More than it has places for, all of which say nothing or a part of something.
  for (int i = 0; i < 100; ++i) {
    const int raw = silent.Connect();
    const std::string part = Cat("GET /metrics HTTP/1.1\r\nX: ", i);
    if (i % 2 == 0) send(raw, part.data(), part.size(), MSG_NOSIGNAL);
    if (i % 10 == 0) {
      EXPECT_EQ(Get(*server, "/healthz").body, "ok\n") << i;
    }
  }
  // A megabyte of header: refused before it is there.
  EXPECT_THAT(SendToPort(server->http_port(),
                         "GET /status HTTP/1.1\r\nX: " + std::string(1 << 20, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431 "));
  // Asks and never reads.
  for (int i = 0; i < 50; ++i) {
    const int raw = silent.Connect();
    const std::string whole = "GET /metrics HTTP/1.1\r\n\r\n";
    send(raw, whole.data(), whole.size(), MSG_NOSIGNAL);
  }
  EXPECT_EQ(Get(*server, "/healthz").body, "ok\n");
}

TEST(Http, AByteNowAndThenDoesNotKeepAConnection) {
  const auto server = HttpServer::Start({.address = "127.0.0.1:0",
                                         .answer = [](const HttpRequest&) { return HttpReply{}; },
                                         .deadline_ms = 300});
  ASSERT_TRUE(server.ok());
  Sockets slow((*server)->port());
  const int raw = slow.Connect();
  bool ended = false;
  for (int i = 0; i < 3000 && !ended; ++i) {
    ended = send(raw, "x", 1, MSG_NOSIGNAL) < 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(ended);
}

TEST(Http, RefusesWhatItDoesNotSpeak) {
  const auto server = Started(WithHttp());
  const auto answer = [&](const std::string& text) {
    return SendToPort(server->http_port(), text).substr(0, 12);
  };
  EXPECT_EQ(answer("POST /status HTTP/1.1\r\nContent-Length: 9\r\n\r\nsomething"), "HTTP/1.1 405");
  EXPECT_EQ(answer("GET /status\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(answer("GET  HTTP/1.1\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(answer("GET /status SMTP/1.1\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(answer("GET /status HTTP/1.1\r\nno header\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(answer("\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(answer(std::string("GET /\0 HTTP/1.1\r\n\r\n", 19)), "HTTP/1.1 404");
  EXPECT_EQ(answer("GET /healthz HTTP/1.0\r\n\r\n"), "HTTP/1.1 200");
}

}  // namespace
}  // namespace blockstep
