#include "launcher/run/connect.h"

#include "core/base/status.h"
#include "launcher/cli/exit_codes.h"

namespace blockstep {

absl::StatusOr<DirectiveSource*> ConnectRun(const RankJob& job, const ResolvedRun& resolved,
                                            const OpenedRun& opened) {
  absl::StatusOr<DirectiveSource*> source =
      job.env.coordination->Connect({.config = &job.config,
                                     .model = &resolved.model,
                                     .table = &resolved.table,
                                     .run = &opened.folder,
                                     .resumed = opened.resumes() ? &opened.resumed : nullptr,
                                     .machine_ranks = job.env.machine_ranks},
                                    job.group());
  // Nobody answered there within the grace, or this process was asked to stop meanwhile. Nothing
  // has been written: the same command may be given again.
  if (absl::IsUnavailable(source.status())) return WithExitCode(source.status(), kExitStopped);
  return source;
}

}  // namespace blockstep
