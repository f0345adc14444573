#include <httplib.h>

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/launcher/coordinator/test_run.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

TEST(Http, ServesHealthStatusAndMetrics) {
  CoordinatorServerOptions options = ServerOptions();
  options.http_address = "127.0.0.1:0";
  const auto server = CoordinatorServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  const auto client = CoordinatorClient::Connect(ClientOptions((*server)->address(), 0, 1));
  ASSERT_TRUE(client.ok());
  for (int64_t step = 0; step < 4; ++step) ASSERT_TRUE((*client)->Report(ReportOf(step)).ok());
  ASSERT_TRUE((*client)->Await(5).ok());

  httplib::Client http("127.0.0.1", (*server)->http_port());
  EXPECT_EQ(http.Get("/healthz")->body, "ok\n");
  const auto status = nlohmann::json::parse(http.Get("/status")->body);
  EXPECT_EQ(status["run_id"], "run-1");
  EXPECT_EQ(status["next_step"], "4");  // protobuf's JSON writes 64-bit numbers as text
  EXPECT_EQ(status["bad_steps"], "0");  // zeros too
  const std::string metrics = http.Get("/metrics")->body;
  EXPECT_THAT(metrics, HasSubstr("# TYPE blockstep_step gauge\nblockstep_step 4\n"));
  EXPECT_THAT(metrics, HasSubstr("\nblockstep_tokens_total 40\n"));
  EXPECT_THAT(metrics, HasSubstr("\nblockstep_rank_connected{rank=\"0\"} 1\n"));
  EXPECT_EQ(http.Get("/other")->status, 404);
}

TEST(Http, TokenGuardsWhatItSays) {
  CoordinatorServerOptions options = ServerOptions();
  options.http_address = "0.0.0.0:0";
  EXPECT_EQ(CoordinatorServer::Start(options).status().code(), absl::StatusCode::kInvalidArgument);
  options.http_token = "secret";
  const auto server = CoordinatorServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  httplib::Client http("127.0.0.1", (*server)->http_port());
  EXPECT_EQ(http.Get("/healthz")->status, 200);
  EXPECT_EQ(http.Get("/status")->status, 401);
  EXPECT_EQ(http.Get("/metrics", {{"Authorization", "Bearer secreT"}})->status, 401);
  EXPECT_EQ(http.Get("/metrics", {{"Authorization", "Bearer secret"}})->status, 200);
}

}  // namespace
}  // namespace blockstep
