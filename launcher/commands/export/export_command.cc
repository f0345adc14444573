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
  RETURN_IF_ERROR(ExportWeights(from, to));
  uintmax_t files = 0, bytes = 0;
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(to, ignored)) {
    ++files, bytes += file.file_size(ignored);
  }
  std::printf("exported %s to %s: %ju files, %.1f MiB\n", from.c_str(), to.c_str(), files,
              static_cast<double>(bytes) / (1 << 20));
  return absl::OkStatus();
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
