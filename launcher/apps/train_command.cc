#include <CLI/CLI.hpp>
#include <cstdio>
#include <thread>

#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "launcher/apps/command.h"
#include "launcher/apps/exit_codes.h"
#include "launcher/apps/ranks.h"
#include "launcher/apps/stop_signal.h"

namespace blockstep {
namespace {

int CodeOf(const TrainOutcome& outcome) {
  switch (outcome.end) {
    case TrainEnd::kFinished:
      return kExitOk;
    case TrainEnd::kStopped:
      std::fprintf(stderr, "blockstep: stopped and saved at step %ld; --resume auto continues\n",
                   static_cast<long>(outcome.step));
      return kExitStopped;
    case TrainEnd::kNonFinite:
      std::fprintf(stderr, "blockstep: %s; saved at step %ld\n", outcome.why.c_str(),
                   static_cast<long>(outcome.step));
      return kExitNonFinite;
    case TrainEnd::kOrphaned:
      std::fprintf(stderr, "blockstep: %s; saved at step %ld; --resume auto continues\n",
                   outcome.why.c_str(), static_cast<long>(outcome.step));
      return kExitStopped;
  }
  return kExitFailure;
}

}  // namespace

int TrainCommand(int argc, char** argv) {
  std::string config_file;
  std::vector<std::string> sets;
  TrainFlags flags;
  bool print = false;
  CLI::App app{"Trains a model, or continues a run. proto/config.proto documents every field."};
  app.name("blockstep train");
  app.add_option("--config", config_file, "configuration as text; without it, defaults");
  app.add_option("--set", sets, "a field, as section.name=value; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--run", flags.run, "folder of the run; never overwritten")->capture_default_str();
  app.add_option(
      "--resume", flags.resume,
      "auto: continue the run in --run from its last checkpoint; or a checkpoint to start "
      "a new run from");
  app.add_flag("--resume-with-changed-maths", flags.allow_maths_change,
               "accept a configuration that changes the result; the difference is printed");
  app.add_option("--tokenizer", flags.tokenizer,
                 "tokenizer file or folder that checkpoints carry along");
  app.add_flag("--print-config", print, "print the whole configuration and end");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kExitOk : kExitUsage;
  }
  absl::StatusOr<TrainConfig> config = LoadTrainConfig(config_file, sets);
  if (!config.ok()) {
    std::fprintf(stderr, "%s\n", std::string(Std(config.status().message())).c_str());
    return kExitUsage;
  }
  if (print) {
    std::printf("%s", PrintTrainConfig(*config).c_str());
    return kExitOk;
  }
  InstallStopSignals();
  absl::StatusOr<RankOutcome> result = RunRanks(*config, flags);
  if (!result.ok()) {
    std::fprintf(stderr, "blockstep: %s\n", std::string(Std(result.status().message())).c_str());
    return ExitCodeOf(result.status());
  }
  return CodeOf(result->outcome);
}

}  // namespace blockstep
