#include <cstdio>
#include <thread>

#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/flags.h"
#include "launcher/cli/stop_signal.h"
#include "launcher/cli/text_writer.h"
#include "launcher/commands/command.h"
#include "launcher/coordinator/contact.h"
#include "launcher/run/mpi_rank.h"
#include "launcher/run/rank_run.h"

namespace blockstep {
namespace {

// Flags of the coordinator section; --set reaches the same fields.
struct CoordinatorAddressFlags {
  std::string address, tls;
  bool insecure = false;

  std::vector<std::string> Sets() const {
    std::vector<std::string> sets;
    if (!address.empty()) sets.push_back("coordinator.address=" + address);
    if (insecure) sets.push_back("coordinator.insecure=true");
    if (!tls.empty()) {
      const TlsFolder files = ClientFiles(tls);
      for (const std::string& set : {"ca=" + files.ca, "cert=" + files.cert, "key=" + files.key}) {
        sets.push_back("coordinator.tls_" + set);
      }
    }
    return sets;
  }
};

// Says how the run ended; its exit code.
int Report(const absl::StatusOr<RankOutcome>& result) {
  if (!result.ok()) {
    Say(std::string(Std(result.status().message())));
  } else if (result->outcome.end != TrainEnd::kFinished) {
    const TrainOutcome& outcome = result->outcome;
    Say(Cat(outcome.end == TrainEnd::kStopped ? "asked to stop" : outcome.why, "; saved at step ",
            outcome.step,
            outcome.end == TrainEnd::kNonFinite ? "" : "; continue with --resume auto"));
  }
  return ExitCodeOfResult(result);
}

// The configuration as file and flags give it, with a way to its coordinator.
absl::StatusOr<TrainConfig> ConfigOf(const std::string& file, std::vector<std::string> sets,
                                     const CoordinatorAddressFlags& given) {
  for (const std::string& set : given.Sets()) sets.push_back(set);
  ASSIGN_OR_RETURN(TrainConfig config, LoadTrainConfig(file, sets));
  const TrainConfig::Coordinator& coordinator = config.coordinator;
  if (!coordinator.address.empty()) {
    RETURN_IF_ERROR(
        CheckBind(coordinator.address, !coordinator.tls_ca.empty(), coordinator.insecure));
  } else if (!coordinator.tls_ca.empty()) {
    // An embedded coordinator makes its own certificates: these would be ignored.
    return InvalidArgument(
        "--tls (or BLOCKSTEP_TLS, coordinator.tls_ca): expected --coordinator HOST:PORT with it, "
        "got ",
        coordinator.tls_ca, " alone");
  }
  return config;
}

// Says what is wrong with the configuration; the exit code.
int Refuse(const absl::Status& status) {
  if (LaunchedRank() == 0) {
    Stderr().Write(Cat("blockstep train: ", status.message(), "\n"));
  } else {
    // mpirun ends everyone at the first exit: rank 0 is given the time to say why. Whoever is
    // still here then was given something that rank 0 was not.
    std::this_thread::sleep_for(std::chrono::seconds(3));
    Stderr().Write(Cat("blockstep train: rank ", LaunchedRank(), ": ", status.message(), "\n"));
  }
  Stderr().Flush(kLastWordsS);
  return kExitUsage;
}

}  // namespace

int TrainCommand(int argc, char** argv) {
  std::string config_file;
  std::vector<std::string> sets;
  TrainFlags flags;
  CoordinatorAddressFlags coordinator;
  bool print = false;
  CLI::App app{"Train a model, or resume a run. proto/config.proto documents every field."};
  app.name("blockstep train");
  app.add_option("--config", config_file, "configuration file; without it, the defaults");
  AddSets(app, sets);
  app.add_option("--run", flags.run, "run folder; never overwritten")
      ->capture_default_str()
      ->check(NotEmpty());
  app.add_option("--resume", flags.resume,
                 "auto: resume the run in --run from its last checkpoint; or a checkpoint to start "
                 "a new run from");
  app.add_flag("--allow-config-change", flags.allow_config_change,
               "resume with a configuration that changes the result; prints the difference");
  app.add_option("--tokenizer", flags.tokenizer,
                 "tokenizer file or folder to copy into checkpoints");
  app.add_option("--coordinator", coordinator.address,
                 "host:port of a `blockstep coordinator`; without it, one is embedded in rank 0")
      ->envname("BLOCKSTEP_COORDINATOR");
  app.add_option("--tls", coordinator.tls,
                 "folder with ca.pem, client.pem and client-key.pem (see blockstep certs), for "
                 "--coordinator")
      ->envname("BLOCKSTEP_TLS");
  app.add_flag("--insecure", coordinator.insecure,
               "allow plaintext to a --coordinator on another host");
  app.add_flag("--print-config", print, "print the whole configuration and exit");
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  const absl::StatusOr<TrainConfig> config = ConfigOf(config_file, std::move(sets), coordinator);
  if (!config.ok()) return Refuse(config.status());
  if (print) {
    std::printf("%s", PrintTrainConfig(*config).c_str());
    return kExitOk;
  }
  // One rank speaks. mpirun's SIGTERM also means that another rank is dead, and it says so itself.
  const bool speaks = LaunchedRank() == 0;
  InstallStopSignals({.tell = speaks, .tell_termination = speaks && LaunchedRanks() == 1});
  if (config->runtime.transport == TransportKind::kMpi) RunMpiRankAndExit(*config, flags, Report);
  const int code = Report(RunLocalRanks(*config, flags));
  Stderr().Flush(kLastWordsS);
  return code;
}

}  // namespace blockstep
