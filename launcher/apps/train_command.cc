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

// Says how the run ended; its exit code.
int Report(const absl::StatusOr<RankOutcome>& result) {
  if (!result.ok()) {
    std::fprintf(stderr, "blockstep: %s\n", std::string(Std(result.status().message())).c_str());
  } else if (result->outcome.end != TrainEnd::kFinished) {
    const TrainOutcome& outcome = result->outcome;
    std::fprintf(stderr, "blockstep: %s; saved at step %ld%s\n",
                 outcome.end == TrainEnd::kStopped ? "asked to stop" : outcome.why.c_str(),
                 static_cast<long>(outcome.step),
                 outcome.end == TrainEnd::kNonFinite ? "" : "; --resume auto continues");
  }
  return ExitCodeOfResult(result);
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
    if (LaunchedAsFirstRank()) {
      std::fprintf(stderr, "%s\n", std::string(Std(config.status().message())).c_str());
    } else {
      // mpirun ends everyone at the first exit: rank 0 is given the time to say why.
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    return kExitUsage;
  }
  if (print) {
    std::printf("%s", PrintTrainConfig(*config).c_str());
    return kExitOk;
  }
  InstallStopSignals();
  if (config->runtime.transport == TransportKind::kMpi) RunMpiRankAndExit(*config, flags, Report);
  return Report(RunLocalRanks(*config, flags));
}

}  // namespace blockstep
