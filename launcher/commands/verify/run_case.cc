#include "launcher/commands/verify/run_case.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "core/base/status.h"
#include "launcher/commands/verify/child_process.h"
#include "launcher/coordinator/contact.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;

std::string TextOf(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// The last lines of a log, for people.
std::string EndOf(const std::string& path) {
  const std::string text = TextOf(path);
  size_t at = text.size();
  for (int lines = 0; lines < 6 && at != std::string::npos && at > 0; ++lines) {
    at = text.rfind('\n', at - 1);
  }
  return at == std::string::npos ? text : text.substr(at);
}

// What follows `label` on the last line that has it.
absl::StatusOr<std::string> After(const std::string& label, const std::string& text,
                                  const std::string& log) {
  const size_t at = text.rfind(label);
  if (at == std::string::npos) return NotFound(log, ": expected a line '", label, "...', got none");
  const size_t begin = at + label.size();
  return text.substr(begin, text.find('\n', begin) - begin);
}

std::vector<std::string> SettingsOf(const VerifyCase& c, const VerifySetup& setup) {
  std::vector<std::string> args = setup.train_args;
  for (const std::string& set :
       {"policy.name=" + c.policy, "placement.mode=" + c.placement,
        "runtime.transport=" + c.transport, std::string("train.numerics=slot_exact")}) {
    args.insert(args.end(), {"--set", set});
  }
  if (c.placement == "budget") {
    args.insert(args.end(), {"--set", Cat("placement.pin_budget_bytes=", setup.pin_budget_bytes)});
  }
  if (c.placement == "node") {  // two groups, or one rank each
    const int ranks = std::stoi(c.ranks);
    args.insert(args.end(),
                {"--set", Cat("placement.ranks_per_group=", ranks % 2 == 0 ? ranks / 2 : 1)});
  }
  if (c.transport == "local") args.insert(args.end(), {"--set", "runtime.local_ranks=" + c.ranks});
  return args;
}

// Runs until its contact file has appeared.
absl::StatusOr<ChildProcess> StartCoordinator(const std::string& program, const std::string& folder,
                                              const std::vector<std::string>& settings,
                                              std::string* address) {
  std::vector<std::string> argv{program, "coordinator", "--folder", folder};
  argv.insert(argv.end(), settings.begin(), settings.end());
  const std::string log = folder + ".log";
  ASSIGN_OR_RETURN(ChildProcess child, ChildProcess::Start(argv, log));
  for (int i = 0; i < 600; ++i) {
    if (const absl::StatusOr<Contact> contact = ReadContact(folder); contact.ok()) {
      *address = contact->address;
      return child;
    }
    if (const absl::Status runs = child.Running(); !runs.ok()) {
      if (absl::IsCancelled(runs)) return runs;
      return Annotate(runs, Cat("coordinator: ", log, " ends:", EndOf(log)));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return DeadlineExceeded("blockstep coordinator did not start; ", log, " ends:", EndOf(log));
}

}  // namespace

absl::StatusOr<CaseResult> ReadResult(const std::string& log) {
  const std::string text = TextOf(log);
  CaseResult result;
  ASSIGN_OR_RETURN(result.weights, After("weights sha256 ", text, log));
  ASSIGN_OR_RETURN(result.state, After("state sha256 ", text, log));
  ASSIGN_OR_RETURN(const std::string blocks, After("blocks sha256 ", text, log));
  result.blocks = blocks.substr(0, 64);
  if (std::sscanf(blocks.c_str() + result.blocks.size(), ", %ld active set", &result.active_sets) !=
      1) {
    return DataLoss(log, ": expected 'blocks sha256 HASH, N active sets', got 'blocks sha256 ",
                    blocks, "'");
  }
  return result;
}

absl::Status CheckSwitched(const VerifyCase& c, const CaseResult& result) {
  if (c.policy == "full" || result.active_sets > 1) return absl::OkStatus();
  return FailedPrecondition("policy ", c.policy, " never switched: expected at least 2 active ",
                            "sets, got ", result.active_sets,
                            "; raise --steps or let the configuration switch sooner");
}

std::string DigestsOf(const VerifyCase& c, const VerifySetup& setup) {
  return setup.folder + "/" + NameOf(c) + "-digests.txt";
}

std::string NameOf(const VerifyCase& c) {
  return Cat(c.policy, "-", c.ranks, "-", c.placement, "-", c.coordinator, "-", c.transport);
}

absl::StatusOr<CaseResult> RunCase(const VerifyCase& c, const VerifySetup& setup) {
  const std::string name = setup.folder + "/" + NameOf(c) + (setup.digests ? "-digests" : "");
  const std::string log = name + ".log";
  std::vector<std::string> settings = SettingsOf(c, setup);
  if (setup.digests) {
    settings.insert(settings.end(), {"--set", "runtime.digests=" + DigestsOf(c, setup)});
  }
  std::optional<ChildProcess> coordinator;
  const auto began = std::chrono::steady_clock::now();
  if (c.coordinator == "external") {
    std::string address;
    ASSIGN_OR_RETURN(ChildProcess child,
                     StartCoordinator(setup.program, name + "-coordinator", settings, &address));
    coordinator.emplace(std::move(child));
    settings.insert(settings.end(), {"--set", "coordinator.address=" + address});
  } else {  // whatever a configuration of the user's says
    settings.insert(settings.end(), {"--set", "coordinator.address="});
  }
  std::vector<std::string> argv;
  if (c.transport == "mpi") {
    argv = setup.mpirun;
    argv.insert(argv.end(), {"-n", c.ranks});
  }
  argv.insert(argv.end(), {setup.program, "train", "--run", name});
  argv.insert(argv.end(), settings.begin(), settings.end());
  absl::StatusOr<ChildProcess> train = ChildProcess::Start(argv, log);
  if (!train.ok())
    return c.transport == "mpi" ? Unavailable(train.status().message()) : train.status();
  ASSIGN_OR_RETURN(const int code, train->Wait(setup.limit_s));
  if (code != 0 && c.transport == "mpi" && !std::filesystem::exists(name) &&
      TextOf(log).find("blockstep: ") == std::string::npos) {
    return Unavailable(setup.mpirun[0], " did not start the program: exit code ", code, "; ", log,
                       " ends:", EndOf(log));
  }
  if (code != 0) return Internal("exit code ", code, "; ", log, " ends:", EndOf(log));
  ASSIGN_OR_RETURN(CaseResult result, ReadResult(log));
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return result;
}

}  // namespace blockstep
