#include <cstdio>
#include <filesystem>

#include "core/base/status.h"
#include "launcher/checkpoint/retention.h"
#include "launcher/checkpoint/weights_io.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/flags.h"
#include "launcher/commands/command.h"

namespace blockstep {
namespace {

absl::Status Export(std::string from, const std::string& to) {
  if (std::filesystem::exists(from + "/checkpoints")) {
    ASSIGN_OR_RETURN(const CheckpointName latest, LatestCheckpoint(from));
    from = latest.folder;
  }
  return ExportWeights(from, to);
}

}  // namespace

int ExportCommand(int argc, char** argv) {
  std::string from, to;
  CLI::App app{"Export a checkpoint as a Hugging Face folder, with its hashes verified."};
  app.name("blockstep export");
  app.add_option("checkpoint", from, "checkpoint or run folder")->required();
  app.add_option("folder", to, "new folder")->required();
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  const absl::Status status = Export(from, to);
  if (status.ok()) return kExitOk;
  std::fprintf(stderr, "blockstep export: %s\n", std::string(Std(status.message())).c_str());
  return ExitCodeOf(status);
}

}  // namespace blockstep
