#include "launcher/run/rank_run.h"

#include "core/base/status.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/text_writer.h"
#include "launcher/run/close.h"
#include "launcher/run/connect.h"
#include "launcher/run/open.h"
#include "launcher/run/rank_watch.h"
#include "launcher/run/resolve.h"
#include "launcher/run/train.h"

namespace blockstep {
namespace {

// Nothing is left to do, so nothing was touched.
std::string Finished(const RunFolder& run, int64_t steps) {
  return Cat(
      run.resume_from, ": the run is finished (step ", run.resume_step, " of ", steps,
      "); nothing to do. To train further, raise train.steps and pass --allow-config-change");
}

}  // namespace

int ExitCodeOfResult(const absl::StatusOr<RankOutcome>& result) {
  if (!result.ok()) return ExitCodeOf(result.status());
  switch (result->outcome.end) {
    case TrainEnd::kFinished:
      return kExitOk;
    case TrainEnd::kNonFinite:
      return kExitNonFinite;
    case TrainEnd::kStopped:
    case TrainEnd::kOrphaned:
      return kExitStopped;
    case TrainEnd::kRefused:
      return kExitPeers;
  }
  return kExitFailure;
}

absl::StatusOr<RankOutcome> RunTrainingRank(const TrainConfig& config, const TrainFlags& flags,
                                            const RankEnv& env) {
  const RankJob job{.config = config, .flags = flags, .env = env};
  ASSIGN_OR_RETURN(const ResolvedRun resolved, ResolveRun(job));
  ASSIGN_OR_RETURN(const std::unique_ptr<OpenedRun> opened, OpenRun(job, resolved));
  const RunFolder& run = opened->folder;
  if (run.resume_step >= config.train.steps) {
    if (job.leads()) Say(Finished(run, config.train.steps));
    return RankOutcome{.outcome = {.step = run.resume_step}};
  }
  RankObserver observer(job.group());
  ASSIGN_OR_RETURN(DirectiveSource* const source, ConnectRun(job, resolved, *opened));
  const Watching watching(*env.watchdog, WatchedRunOf(job, opened->training));
  ASSIGN_OR_RETURN(TrainedRun trained, TrainRun(job, resolved, *opened, source, observer));
  ASSIGN_OR_RETURN(std::string hash,
                   CloseRun(job, resolved, *opened, trained.state_hash, observer));
  return RankOutcome{.outcome = std::move(trained.outcome), .weights_hash = std::move(hash)};
}

}  // namespace blockstep
