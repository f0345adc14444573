// One run as the coordinator knows it: who takes part, what was decided, what people asked for.
// Thread-safe; no gRPC. Refusals: FAILED_PRECONDITION for what will not become right by itself
// (build, run, configuration, a replaced worker), ABORTED for a caller that must join again (term,
// view), UNAVAILABLE for what comes by waiting, ALREADY_EXISTS for a second process of one rank.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "launcher/coordinator/decisions.h"

namespace blockstep {

struct RunStateOptions {
  DecisionsOptions decisions;
  int world = 0;                    // 0: what rank 0 says
  int64_t total_steps = 0;          // for people
  int64_t lease_ms = 15'000;        // a rank that was heard within it is alive
  std::function<int64_t()> now_ms;  // monotonic
};

class RunState {
 public:
  static absl::StatusOr<std::unique_ptr<RunState>> Create(RunStateOptions options);

  // Rank 0 comes first and decides where the run goes on; the others follow its incarnation.
  absl::StatusOr<proto::JoinReply> Join(const proto::JoinRequest& request);
  absl::StatusOr<proto::ReportReply> Report(const proto::ReportRequest& request);
  absl::StatusOr<proto::HeartbeatReply> Heartbeat(const proto::HeartbeatRequest& request);
  absl::Status Leave(const proto::LeaveRequest& request);
  proto::StatusReply Status();
  absl::Status Able();  // RESOURCE_EXHAUSTED: it cannot write its log, so it takes no report
  absl::StatusOr<proto::OrdersReply> SaveNow(const std::string& run_id);
  absl::StatusOr<proto::OrdersReply> Stop(const std::string& run_id);

  // A rank's stream: opened (checks the caller), then events from `sequence` on until nullopt (all
  // sent), ABORTED when the term ended.
  absl::Status OpenStream(const proto::DirectivesRequest& request);
  void CloseStream(const proto::Identity& identity);
  absl::StatusOr<std::optional<proto::DirectiveEvent>> NextEvent(const proto::Identity& identity,
                                                                 int64_t from_step,
                                                                 int64_t sequence);
  // Called, without locks, after anything that streams may have to send.
  void OnChange(std::function<void()> callback) { on_change_ = std::move(callback); }

 private:
  struct Member {
    proto::JoinRequest joined;
    proto::Progress progress;
    std::string left;
    int64_t heard_ms = 0;
    int streams = 0;
  };
  explicit RunState(RunStateOptions options) : options_(std::move(options)) {}
  absl::Status CheckRun(const std::string& run_id) const;
  // Build, run and configuration: what no later call can put right.
  absl::Status CheckIdentity(const proto::Identity& identity) const;
  absl::Status CheckJoin(const proto::JoinRequest& request) const;
  absl::Status CheckMachine(const proto::JoinRequest& request) const;
  absl::Status AdmitLeader(const proto::JoinRequest& request);
  absl::StatusOr<Member*> Find(const proto::Identity& identity);
  // The same, and the rank was heard now.
  absl::StatusOr<Member*> Caller(const proto::Identity& identity);
  absl::StatusOr<proto::OrdersReply> Order(const std::string& run_id,
                                           const std::function<void(proto::Orders*)>& change);
  void Changed() {
    if (on_change_) on_change_();
  }

  const RunStateOptions options_;
  std::function<void()> on_change_;
  std::mutex mutex_;
  std::unique_ptr<Decisions> decisions_;
  std::map<int, Member> members_;  // of this view
  int world_ = 0;
  double loss_ = 0;
  int64_t tokens_ = 0, bad_steps_ = 0;
  struct Rate {
    int64_t ms, tokens;
  };
  std::deque<Rate> recent_;  // reports, for tokens per second
};

}  // namespace blockstep
