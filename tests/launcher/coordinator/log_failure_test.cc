// The log on a disk that fails: what was answered is there afterwards, and nothing follows what may
// not be there.
#include <cerrno>
#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/launcher/coordinator/client_runs.h"
#include "tests/launcher/coordinator/failing_disk.h"

namespace blockstep {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kForever = 1 << 30;

proto::StepReport Report(int64_t step) {
  proto::StepReport report;
  report.set_step(step);
  return report;
}

class LogFailure : public testing::Test {
 protected:
  void SetUp() override {
    log_ = Opened();
    header_.set_run_id("run-1");
    ASSERT_TRUE(log_->Rewrite(header_).ok());
    ASSERT_TRUE(log_->Append(Report(0)).ok());
  }
  void TearDown() override { MendDisk(); }
  std::unique_ptr<CoordinatorLog> Opened() {
    auto log = CoordinatorLog::Open(path_, &found_);
    EXPECT_TRUE(log.ok()) << log.status().ToString();
    return log.ok() ? std::move(*log) : nullptr;
  }
  size_t ReportsFound() {
    log_.reset();
    log_ = Opened();
    return found_.reports.size();
  }
  const std::string path_ = FreshPath("log_failure.log");
  LogContents found_;
  proto::LogHeader header_;
  std::unique_ptr<CoordinatorLog> log_;
};

TEST_F(LogFailure, NothingIsAppendedAfterAnAppendThatFailed) {
  for (const int error : {ENOSPC, EIO}) {
    for (const int nth : {1, 2}) {  // pwrite, fdatasync
      SCOPED_TRACE(Cat(std::strerror(error), " in call ", nth));
      const size_t before = ReportsFound();
      FailDisk({.nth = nth, .error = error});
      const absl::Status failed = log_->Append(Report(7));
      EXPECT_TRUE(DiskHasFailed());
      EXPECT_EQ(failed.code(), StatusCode::kResourceExhausted);
      EXPECT_THAT(std::string(failed.message()), HasSubstr(path_ + ": " + std::strerror(error)));
      MendDisk();
      EXPECT_EQ(log_->Append(Report(8)), failed);  // though the disk would take it
      EXPECT_THAT(DiskCalls(), ElementsAre());
      const size_t after = ReportsFound();
      EXPECT_LE(after, before + 1);
      EXPECT_TRUE(after == before || found_.reports.back().step() == 7);
      ASSERT_TRUE(log_->Append(Report(9)).ok());
      EXPECT_EQ(ReportsFound(), after + 1);
    }
  }
}

TEST_F(LogFailure, AWholeNewFileMendsIt) {
  FailDisk({.nth = 2, .error = EIO});
  EXPECT_FALSE(log_->Append(Report(1)).ok());
  EXPECT_FALSE(log_->broken().ok());
  header_.set_run_id("run-2");
  EXPECT_TRUE(log_->Rewrite(header_).ok());
  EXPECT_TRUE(log_->broken().ok());
  EXPECT_TRUE(log_->Append(Report(1)).ok());
  EXPECT_EQ(ReportsFound(), 1u);
  EXPECT_EQ(found_.header.run_id(), "run-2");
}

TEST_F(LogFailure, ARewriteIsWholeOrHasNotBeen) {
  MendDisk();
  ASSERT_TRUE(log_->Rewrite(header_).ok());
  ASSERT_THAT(DiskCalls(), ElementsAre("pwrite", "fsync", "rename", "fsync"));
  for (int nth = 1; nth <= 3; ++nth) {
    ASSERT_TRUE(log_->Append(Report(nth)).ok());
    FailDisk({.nth = nth, .error = ENOSPC});
    proto::LogHeader other;
    other.set_run_id("run-2");
    EXPECT_EQ(log_->Rewrite(other).code(), StatusCode::kResourceExhausted);
    EXPECT_TRUE(log_->broken().ok());
    EXPECT_FALSE(std::filesystem::exists(path_ + ".tmp"));
  }
  EXPECT_TRUE(log_->Append(Report(4)).ok());
  EXPECT_EQ(ReportsFound(), 4u);
  EXPECT_EQ(found_.header.run_id(), "run-1");
}

TEST_F(LogFailure, AFolderThatWasNotSyncedMayBringTheOldFileBack) {
  FailDisk({.nth = 4, .error = EIO});
  EXPECT_FALSE(log_->Rewrite(header_).ok());
  EXPECT_FALSE(log_->Append(Report(1)).ok());
}

// One life of a coordinator: what it was asked, and how far it answered that all was well.
struct Answered {
  int64_t reports = 0, attempted = 0;
  bool stop = false, stop_attempted = false;
  int64_t view = 1, view_attempted = 1;
};

DecisionsOptions Options(const std::string& path) {
  DecisionsOptions o = ServerOptions(path).run.decisions;
  o.reports_per_header = 5;
  return o;
}

void Live(Decisions& decisions, Answered& answered) {
  if (!decisions.Begin("run-1", 1).ok()) return;
  const auto report = [&](int64_t until) {
    for (; answered.reports < until; ++answered.reports) {
      answered.attempted = answered.reports + 1;
      if (!decisions.Accept(ReportOf(answered.reports)).ok()) return false;
    }
    return true;
  };
  if (!report(7)) return;
  const auto snapshot = decisions.Snapshot(7);
  if (!report(12)) return;
  // Workers that died at step 12 come back from a checkpoint of step 7.
  answered.view_attempted = 2;
  if (!decisions.Restore(2, 7, *snapshot).ok()) return;
  answered.view = 2, answered.reports = 7;
  if (!report(14)) return;
  proto::Orders stop;
  stop.set_stop(true);
  answered.stop_attempted = true;
  if (!decisions.SetOrders(stop).ok()) return;
  answered.stop = true;
  report(19);
}

TEST(DecisionsFailure, WhatWasAnsweredOutlivesEveryFailure) {
  const std::string path = FreshPath("decisions_failure.log");
  int failures = 0;
  for (const int times : {1, kForever}) {
    for (int nth = 1;; ++nth) {
      SCOPED_TRACE(Cat("call ", nth, " and ", times - 1, " after it"));
      FreshPath("decisions_failure.log");
      auto decisions = Decisions::Create(Options(path));
      ASSERT_TRUE(decisions.ok());
      Answered answered;
      FailDisk({.nth = nth, .error = EIO, .times = times});
      Live(**decisions, answered);
      const bool failed = DiskHasFailed();
      MendDisk();
      // In memory there is nothing that was not answered.
      EXPECT_EQ((*decisions)->next_step(), answered.reports);
      EXPECT_EQ((*decisions)->orders().stop(), answered.stop);
      EXPECT_EQ((*decisions)->view(), answered.view);
      decisions->reset();
      decisions = Decisions::Create(Options(path));
      ASSERT_TRUE(decisions.ok()) << decisions.status().ToString();
      const int64_t next = (*decisions)->next_step();
      if ((*decisions)->view() == answered.view) {
        EXPECT_GE(next, answered.reports);
        EXPECT_LE(next, std::max(answered.reports, answered.attempted));
      } else {
        EXPECT_EQ((*decisions)->view(), answered.view_attempted);
        EXPECT_EQ(next, 7);
      }
      if ((*decisions)->orders().stop() != answered.stop) {
        EXPECT_TRUE(answered.stop_attempted);
      }
      RisingLossPolicy oracle(1);
      std::vector<Directive> last = oracle.Start();
      for (int64_t step = 0; step < next; ++step) last = oracle.OnReport(ReportOf(step));
      EXPECT_EQ((*decisions)->directives().back().Hash(), last.back().Hash());
      if (!failed) break;
      ++failures;
    }
  }
  EXPECT_GT(failures, 100);
}

TEST(DecisionsFailure, GoesOnInPlaceWhenTheDiskHasRoom) {
  const std::string path = FreshPath("decisions_room.log");
  auto decisions = Decisions::Create(Options(path));
  ASSERT_TRUE(decisions.ok());
  for (int64_t step = 0; step < 20; ++step) {
    FailDisk({.nth = 1 + static_cast<int>(step % 2), .error = ENOSPC, .times = kForever});
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ((*decisions)->Accept(ReportOf(step)).code(), StatusCode::kResourceExhausted);
      EXPECT_FALSE((*decisions)->Durable().ok());
    }
    MendDisk();
    ASSERT_TRUE((*decisions)->Accept(ReportOf(step)).ok());
    EXPECT_TRUE((*decisions)->Durable().ok());
  }
  decisions->reset();
  decisions = Decisions::Create(Options(path));
  ASSERT_TRUE(decisions.ok());
  EXPECT_EQ((*decisions)->next_step(), 20);
}

TEST(CoordinatorOnAFullDisk, RanksWaitTheirGraceAndSayWhy) {
  const std::string log = FreshPath("full_disk.log");
  const auto server = Started(ServerOptions(log));
  std::vector<Client> clients;
  for (int rank = 0; rank < 2; ++rank) {
    CoordinatorClientOptions options = ClientOptions(server->address(), rank, 2);
    options.grace_s = 8;
    clients.push_back(Joined(options));
  }
  for (const auto& seen : RunRanks(clients, 0, 10)) EXPECT_EQ(seen, ExpectedPhases(10));
  ASSERT_TRUE(clients[0]->Await(11).ok());  // the last report was taken
  FailDisk({.nth = 1, .error = ENOSPC, .times = kForever});
  ASSERT_TRUE(clients[0]->Report(ReportOf(10)).ok());
  std::thread mends([] {
    while (!DiskHasFailed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    MendDisk();
  });
  EXPECT_TRUE(clients[1]->Await(12).ok());  // within the grace
  mends.join();
  EXPECT_TRUE(clients[0]->Await(12).ok());
  FailDisk({.nth = 1, .error = ENOSPC, .times = kForever});
  ASSERT_TRUE(clients[0]->Report(ReportOf(11)).ok());
  for (const Client& client : clients) {
    const absl::Status status = client->Await(13).status();
    EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status.ToString();
    EXPECT_THAT(std::string(status.message()), HasSubstr(log));
    EXPECT_THAT(std::string(status.message()), HasSubstr("No space left on device"));
  }
  EXPECT_EQ(server->state().Status().next_step(), 11);
}

}  // namespace
}  // namespace blockstep
