// A rank's side of the coordinator: directives by a stream of its own, the leader's reports by a
// queue, heartbeats with progress. Three threads; the caller's thread never waits for the network
// except in Connect, Await and Leave, each bounded. A coordinator that ends is looked for as long
// as the client lives, and joined again when it is back: only a step that no directive held covers
// waits for it, and the grace bounds that wait.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/base/status.h"
#include "core/step/directive.h"
#include "core/step/run_stage.h"
#include "launcher/coordinator/channel.h"
#include "optim/policy/policy.h"
#include "proto/coordinator.grpc.pb.h"

namespace blockstep {

struct CoordinatorClientOptions {
  ChannelOptions channel;
  std::string run_id;
  int rank = 0;
  int world = 1;
  int64_t incarnation =
      1;  // equal on all ranks of one start, greater than that of any start before
  std::string build;
  std::string instruction_set;
  std::vector<std::string> libraries;
  std::string config_hash;
  bool slot_exact = false;
  int64_t resume_step = 0;                 // the first step to run
  const PolicySnapshot* resume = nullptr;  // rank 0 of a run that continues from a checkpoint
  std::string host;                        // for people
  double grace_s = 60;                     // longest time without the coordinator
  double call_s = 5;                       // deadline of one call
  double heartbeat_s = 1;
  double duplicate_s = 20;  // until a dead process of this rank must be known dead
  // (optional) True once the run should stop: waits for the coordinator then end shortly.
  std::function<bool()> stop_seen;
  // (optional) Called once per wait of Await that lasts longer than note_s, with a line to print.
  std::function<void(const std::string&)> note;
  double note_s = 10;
};

struct RankProgress {
  int64_t step = 0;
  RunStage stage = RunStage::kStarting;
  std::string op;
  int64_t sequence = 0;
};

class CoordinatorClient : public DirectiveSource {
 public:
  // Joins, retrying up to the grace; UNAUTHENTICATED, without waiting for that: TLS does not fit.
  // Rank 0 first: the others wait for it.
  static absl::StatusOr<std::unique_ptr<CoordinatorClient>> Connect(
      CoordinatorClientOptions options);
  ~CoordinatorClient() override;

  // UNAVAILABLE: not heard for the grace, it answers but decided nothing for as long, or asked to
  // stop meanwhile. FAILED_PRECONDITION: it refused this rank; never for a step that TryAwait has
  // given, so that ranks which compared their directives for a step all come to it.
  absl::StatusOr<Directive> Await(int64_t step) override;
  const Directive* TryAwait(int64_t step) override;
  // Queued and retried until it is accepted. Ranks other than 0 have nothing to report: the call
  // does nothing.
  absl::Status Report(const StepReport& report) override;

  void SetProgress(RankProgress progress);
  // The coordinator's view of the run and of every rank.
  absl::StatusOr<proto::StatusReply> Status(double deadline_s);
  // Orders as the last heartbeat brought them.
  bool stop_requested() const;
  int64_t save_generation() const;  // a save is due when it has grown

  // Waits for queued reports, for the grace at most, then leaves the run.
  absl::Status Leave(const std::string& reason);

  int64_t term() const;

 private:
  using Clock = std::chrono::steady_clock;
  explicit CoordinatorClient(CoordinatorClientOptions options);

  proto::Identity Self() const;  // mutex_ is held
  absl::Status Join();
  absl::Status FirstJoin();
  absl::Status JoinAgain(int64_t seen_term);
  // Runs `call` until it succeeds, fails for good, or has failed for `patience` seconds.
  absl::Status Retry(std::string_view what, double patience,
                     const std::function<absl::Status()>& call);
  bool Lost() const;            // not heard for the grace; mutex_ is held
  bool Stopped() const;         // by a signal or an order; mutex_ is held
  std::string Silence() const;  // since when it is silent, and its last error; mutex_ is held
  // One call with deadline and cancellation.
  absl::Status Once(std::string_view what, double deadline_s,
                    const std::function<grpc::Status(grpc::ClientContext*)>& call);
  bool Sleep(double seconds);  // false: the client ends
  bool Pause(double seconds);  // the same, and a connection that is found ends it sooner
  void Heard();                // it answers and can decide
  void Fail(const absl::Status& status);
  RankOf Here() const { return {.rank = options_.rank, .ranks = options_.world}; }

  void StreamLoop();
  void ReadStream(grpc::ClientContext* context, const proto::DirectivesRequest& request,
                  grpc::Status* result);
  void Take(const proto::DirectiveEvent& event);
  void ReportLoop();
  void HeartbeatLoop();

  const CoordinatorClientOptions options_;
  PolicySnapshot resume_;
  const uint64_t nonce_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<proto::Coordinator::Stub> stub_;

  std::mutex join_mutex_;  // one join at a time; before mutex_
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  absl::Status fatal_;
  int64_t term_ = 0, view_ = 0;
  Clock::time_point heard_;
  absl::Status last_failure_;             // of a call, since it was heard
  std::set<grpc::ClientContext*> calls_;  // under way
  std::deque<Directive> held_;            // consecutive
  int64_t covered_ = -1;                  // last step that held_ covers
  int64_t promised_ = -1;                 // last step that TryAwait gave
  Directive last_given_;
  std::deque<StepReport> reports_;
  RankProgress progress_;
  proto::Orders orders_;
  std::vector<std::thread> threads_;
};

}  // namespace blockstep
