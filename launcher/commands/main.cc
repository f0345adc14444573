// blockstep: one program, a subcommand for each thing people do with it.
#include <cstdio>
#include <string>
#include <vector>

#include "core/base/nearest.h"
#include "launcher/cli/build_identity.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/text_writer.h"
#include "launcher/commands/command.h"
#include "launcher/coordinator/grpc_log.h"
#include "launcher/machine/process_memory.h"

namespace blockstep {
namespace {

struct Command {
  const char* name;
  const char* help;
  CommandFn run;
};

constexpr Command kCommands[] = {
    {"train", "train or resume a run; alone, or under mpirun or srun", TrainCommand},
    {"estimate", "estimate memory, bytes sent and step time of a run", EstimateCommand},
    {"coordinator", "run the coordinator as a separate process", CoordinatorCommand},
    {"status", "show what a run is doing", StatusCommand},
    {"stop", "ask a run to save and stop", StopCommand},
    {"save", "ask a run to save a checkpoint now", SaveCommand},
    {"verify", "train on 1 to 4 ranks and compare the results bit for bit", VerifyCommand},
    {"certs", "create certificates for TLS between ranks and coordinator", CertsCommand},
    {"eval", "compute loss and perplexity on token files", EvalCommand},
    {"export", "export a checkpoint as a Hugging Face folder", ExportCommand},
    {"tokenize", "turn text or JSON lines into a token file", TokenizeCommand},
};

void PrintHelp(std::FILE* out) {
  std::fprintf(out,
               "blockstep trains Llama-class models block by block across many ranks.\n\n"
               "usage: blockstep COMMAND [flags]      blockstep COMMAND --help\n\n");
  for (const Command& c : kCommands) std::fprintf(out, "  %-12s %s\n", c.name, c.help);
  std::fprintf(out, "\nmpirun -n 4 blockstep train --config run.txt --run runs/first\n");
}

int Main(int argc, char** argv) {
  TakeGrpcLog([](const std::string& line) { Say("gRPC: " + line); });
  std::string name = argc > 1 ? argv[1] : "";
  char help[] = "--help";
  char* help_of[] = {argv[0], argc > 2 ? argv[2] : help, help, nullptr};
  if (name == "help" && argc > 2) {  // blockstep help train
    name = argv[2];
    argc = 3, argv = help_of;
  }
  if (name.empty() || name == "--help" || name == "-h" || name == "help") {
    PrintHelp(name.empty() ? stderr : stdout);
    return name.empty() ? kExitUsage : kExitOk;
  }
  if (name == "--version") {
    std::printf("%s, commit %s\n", BuildIdentity(), BuildCommit());
    return kExitOk;
  }
  std::vector<std::string> names;
  for (const Command& c : kCommands) {
    if (name == c.name) return c.run(argc - 1, argv + 1);
    names.push_back(c.name);
  }
  std::fprintf(stderr, "blockstep: unknown command '%s'; expected one of %s\n", name.c_str(),
               KnownNames(name, names).c_str());
  return kExitUsage;
}

}  // namespace
}  // namespace blockstep

int main(int argc, char** argv) {
  blockstep::LimitHeap();
  return blockstep::Main(argc, argv);
}
