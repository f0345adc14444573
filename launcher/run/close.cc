#include "launcher/run/close.h"

#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<std::string> CloseRun(const RankJob& job, const ResolvedRun& resolved,
                                     OpenedRun& opened, const std::string& state_hash,
                                     RankObserver& observer) {
  Communicator& group = job.group();
  ASSIGN_OR_RETURN(std::string hash, opened.session->WeightsHash());
  const std::string& trace = job.config.runtime.trace;
  if (!trace.empty()) {
    RETURN_IF_ERROR(
        opened.tracer.WriteJson(Cat(trace, ".rank", group.rank(), ".json"), group.rank()));
  }
  ASSIGN_OR_RETURN(const std::string used,
                   MemoryUsed(resolved.promise, opened.session->arena(), resolved.memory, group));
  if (observer.console() == nullptr) return hash;
  observer.OnNote(used);
  // A hash of what this start saw: comparable with another run's only if both began alike.
  const int64_t from = opened.folder.resume_step;
  observer.OnNote(Cat(from == 0 ? std::string("blocks") : Cat("blocks since step ", from),
                      " sha256 ", observer.console()->BlocksHash()));
  observer.OnNote(Cat("state sha256 ", state_hash));
  observer.OnNote(Cat("weights sha256 ", hash));
  return hash;
}

}  // namespace blockstep
