// A rank that waits for a coordinator: it says so once, and whoever asks it to stop is heard.
#include <atomic>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/launcher/coordinator/client_runs.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

class Waits : public testing::Test {
 protected:
  Waits() {
    options_ = ClientOptions(server_->address(), 0, 1);
    options_.grace_s = 5;
    options_.stop_seen = [this] { return stop_.load(); };
    options_.note = [this](const std::string& text) { notes_.push_back(text); };
    options_.note_s = 0.3;
  }
  std::unique_ptr<CoordinatorServer> server_ = Started(ServerOptions());
  CoordinatorClientOptions options_;
  std::atomic<bool> stop_{false};
  std::vector<std::string> notes_;
};

TEST_F(Waits, AStopEndsTheWaitForADirectiveAndNotTheRun) {
  const Client client = Joined(options_);
  stop_ = true;
  // What is known already is not waited for.
  EXPECT_TRUE(client->Await(0).ok());
  EXPECT_TRUE(client->Await(1).ok());
  server_.reset();
  const absl::Status status = client->Await(2).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("asked to stop while waiting for"));
  ASSERT_TRUE(client->Report(ReportOf(0)).ok());  // nobody takes it; Leave does not insist
  EXPECT_THAT(std::string(client->Leave("stopped").message()), HasSubstr("were not accepted"));
}

TEST_F(Waits, AStopEndsTheWaitForTheFirstJoin) {
  server_.reset();
  stop_ = true;
  const absl::Status status = CoordinatorClient::Connect(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("join: asked to stop"));
}

TEST_F(Waits, AnOrderToStopEndsThemToo) {
  const Client client = Joined(options_);
  ASSERT_TRUE(server_->state().Stop("run-1").ok());
  for (int i = 0; i < 3000 && !client->stop_requested(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_THAT(std::string(client->Await(2).status().message()), HasSubstr("asked to stop"));
}

TEST_F(Waits, AreSaidOnceWithTheirCause) {
  options_.grace_s = 2;
  const Client client = Joined(options_);
  const std::string address = server_->address();
  server_.reset();
  const absl::Status status = client->Await(2).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(" for 2 s at step 2: "));
  ASSERT_EQ(notes_.size(), 1u);
  EXPECT_THAT(notes_[0],
              HasSubstr(Cat("waiting for the coordinator at ", address, " to decide step 2, ")));
  EXPECT_THAT(notes_[0], HasSubstr(" s (coordinator.grace_s 2)"));
}

}  // namespace
}  // namespace blockstep
