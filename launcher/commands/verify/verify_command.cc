// blockstep verify: the equality matrix on the machine at hand, as a table and one verdict.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>

#include "core/base/status.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/flags.h"
#include "launcher/cli/stop_signal.h"
#include "launcher/commands/command.h"
#include "launcher/commands/verify/bisect.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;

struct Flags {
  VerifyAxes axes;
  bool pairwise = false, keep = false, bisect = false;
  std::vector<std::string> bisect_cases;  // two names, or none: the first two cases that differ
  int64_t steps = 100, pin_budget_bytes = kToyPinBudget;
  double limit_s = 300;
  std::string mpirun = "mpirun", config, folder;
  std::vector<std::string> sets;
};

std::vector<std::string> Words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

absl::StatusOr<std::string> WorkFolder(const std::string& wanted) {
  if (wanted.empty()) {
    std::error_code none;
    const fs::path here = fs::temp_directory_path(none);
    if (none) return NotFound("folder for temporary files (TMPDIR): ", none.message());
    std::string name = (here / "blockstep-verify-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      return ResourceExhausted("cannot make a folder like ", name);
    return name;
  }
  std::error_code error;
  fs::create_directories(wanted, error);
  if (error) return ResourceExhausted("cannot make folder ", wanted, ": ", error.message());
  if (!fs::is_empty(wanted)) {
    return absl::AlreadyExistsError("folder " + wanted +
                                    ": expected an empty one, got files in it");
  }
  return wanted;
}

struct Verdict {
  int failed = 0, differ = 0;
  bool launcher_failed = false;                            // no further case was run
  std::optional<std::pair<VerifyCase, VerifyCase>> apart;  // the first two that differ
  std::map<std::string, int> ran;                          // finished cases of each policy
  bool compared() const {
    return std::all_of(ran.begin(), ran.end(), [](const auto& p) { return p.second > 1; });
  }
  bool equal() const { return failed == 0 && differ == 0 && compared(); }
  std::string Text() const {
    if (equal()) {
      return "EQUAL: one hash of the weights, one of the state and one block sequence per policy";
    }
    return Cat(
        differ > 0 ? Cat("NOT EQUAL: ", differ, differ == 1 ? " case differs" : " cases differ",
                         " from the first of its policy")
                   : std::string("INCONCLUSIVE"),
        failed > 0 ? Cat("; ", failed, " failed") : "",
        launcher_failed ? "; further cases not run (--transports local needs no launcher)" : "",
        compared() ? "" : "; expected at least two finished cases per policy");
  }
};

// Runs all cases and prints a line for each.
absl::StatusOr<Verdict> RunAll(const std::vector<VerifyCase>& cases, const VerifySetup& setup) {
  std::map<std::string, std::pair<VerifyCase, CaseResult>> first;
  Verdict verdict;
  std::printf("%-9s %5s %-9s %-11s %-9s %8s  %-16s %-16s %-16s\n", "policy", "ranks", "placement",
              "coordinator", "transport", "s", "weights", "state", "blocks");
  for (const VerifyCase& c : cases) {
    absl::StatusOr<CaseResult> result = RunCase(c, setup);
    if (absl::IsCancelled(result.status())) return result.status();
    if (result.ok()) {
      if (absl::Status switched = CheckSwitched(c, *result); !switched.ok()) result = switched;
    }
    std::printf("%-9s %5s %-9s %-11s %-9s ", c.policy.c_str(), c.ranks.c_str(), c.placement.c_str(),
                c.coordinator.c_str(), c.transport.c_str());
    if (!result.ok()) {
      ++verdict.failed;
      verdict.ran[c.policy] += 0;
      std::printf("FAILED: %s\n", std::string(Std(result.status().message())).c_str());
    } else {
      const auto& [wanted_case, wanted] = first.try_emplace(c.policy, c, *result).first->second;
      ++verdict.ran[c.policy];
      const bool same = wanted.SameAs(*result);
      verdict.differ += same ? 0 : 1;
      if (!same && !verdict.apart.has_value()) verdict.apart.emplace(wanted_case, c);
      std::printf("%8.1f  %.16s %.16s %.16s%s\n", result->seconds, result->weights.c_str(),
                  result->state.c_str(), result->blocks.c_str(), same ? "" : "  DIFFERS");
    }
    std::fflush(stdout);
    // It would fail in every further case, with the same words.
    verdict.launcher_failed = absl::IsUnavailable(result.status());
    if (verdict.launcher_failed) break;
  }
  return verdict;
}

// The cases set these themselves.
absl::Status CheckSets(const std::vector<std::string>& sets) {
  static constexpr std::string_view kOurs[] = {
      "policy.name",    "placement.mode", "runtime.transport",   "runtime.local_ranks",
      "train.numerics", "train.steps",    "coordinator.address", "runtime.digests"};
  for (const std::string& set : sets) {
    const std::string name = set.substr(0, set.find('='));
    if (std::find(std::begin(kOurs), std::end(kOurs), name) != std::end(kOurs)) {
      return InvalidArgument("--set ", set, ": the cases set ", name,
                             " themselves; see --policies, --placements, --coordinators, "
                             "--transports, --ranks, --steps");
    }
  }
  return absl::OkStatus();
}

// Says where the two part; true: nowhere.
absl::StatusOr<bool> PrintBisection(const VerifyCase& a, const VerifyCase& b,
                                    const VerifySetup& setup) {
  std::printf("\nbisect %s %s: ", NameOf(a).c_str(), NameOf(b).c_str());
  std::fflush(stdout);
  ASSIGN_OR_RETURN(const DigestComparison compared, Bisect(a, b, setup));
  std::printf("%s\n", compared.Text().c_str());
  return !compared.where.has_value();
}

// The whole matrix; true: all equal.
absl::StatusOr<bool> VerifyMatrix(const Flags& flags, const VerifySetup& setup) {
  const std::vector<VerifyCase> cases =
      flags.pairwise ? PairwiseCases(flags.axes) : AllCases(flags.axes);
  ASSIGN_OR_RETURN(const Verdict verdict, RunAll(cases, setup));
  std::printf("\n%zu cases of %ld steps: %s\n", cases.size(), static_cast<long>(flags.steps),
              verdict.Text().c_str());
  if (flags.bisect && verdict.apart.has_value()) {
    ASSIGN_OR_RETURN(const bool agree,
                     PrintBisection(verdict.apart->first, verdict.apart->second, setup));
    if (agree) std::printf("the difference did not reproduce\n");
  }
  return verdict.equal();
}

absl::StatusOr<bool> VerifyIn(VerifySetup& setup, const Flags& flags,
                              const std::vector<VerifyCase>& two) {
  if (flags.config.empty()) {
    ASSIGN_OR_RETURN(setup.train_args, MakeToyRun(setup.folder, flags.steps));
  } else {
    setup.train_args = {"--config", flags.config, "--set", Cat("train.steps=", flags.steps)};
  }
  for (const std::string& set : flags.sets) {
    setup.train_args.insert(setup.train_args.end(), {"--set", set});
  }
  return two.empty() ? VerifyMatrix(flags, setup) : PrintBisection(two[0], two[1], setup);
}

absl::StatusOr<bool> Verify(const Flags& flags) {
  RETURN_IF_ERROR(Validate(flags.axes));
  RETURN_IF_ERROR(CheckSets(flags.sets));
  std::vector<VerifyCase> two;
  for (const std::string& name : flags.bisect_cases) {
    ASSIGN_OR_RETURN(two.emplace_back(), CaseNamed(name));
  }
  VerifySetup setup{.mpirun = Words(flags.mpirun),
                    .pin_budget_bytes = flags.pin_budget_bytes,
                    .limit_s = flags.limit_s};
  if (setup.mpirun.empty()) return InvalidArgument("--mpirun is empty");
  setup.program = fs::read_symlink("/proc/self/exe").string();
  ASSIGN_OR_RETURN(setup.folder, WorkFolder(flags.folder));
  const absl::StatusOr<bool> equal = VerifyIn(setup, flags, two);
  // Nobody wants what a verify that was asked to stop has done so far.
  const bool unwanted = equal.ok() ? *equal : absl::IsCancelled(equal.status());
  if (unwanted && !flags.keep && flags.folder.empty()) {
    std::error_code ignored;
    fs::remove_all(setup.folder, ignored);
  } else {
    std::printf("runs and logs are in %s\n", setup.folder.c_str());
  }
  return equal;
}

}  // namespace

int VerifyCommand(int argc, char** argv) {
  Flags flags;
  CLI::App app{
      "Train the same run on several numbers of ranks, sharded and pinned, with an embedded and an "
      "external coordinator, over threads and MPI, and compare the SHA-256s: each policy must have "
      "one. Without --config, a tiny model on made-up text. Exit code 0: all equal."};
  app.name("blockstep verify");
  const auto list = [&](const char* name, std::vector<std::string>& values, const char* help) {
    app.add_option(name, values, help)->delimiter(',')->capture_default_str();
  };
  list("--policies", flags.axes.policies, "policies");
  list("--ranks", flags.axes.ranks, "numbers of ranks");
  list("--placements", flags.axes.placements,
       "placements of the weights: sharded, pinned, budget, node");
  app.add_option("--pin-budget-bytes", flags.pin_budget_bytes, "bytes pinned with placement budget")
      ->capture_default_str()
      ->check(AboveZero());
  list("--coordinators", flags.axes.coordinators, "embedded in rank 0, or a separate process");
  list("--transports", flags.axes.transports, "local: ranks are threads of one process");
  app.add_flag("--pairwise", flags.pairwise,
               "run fewer cases: enough that every pair of values occurs");
  CLI::Option* bisect =
      app.add_option("--bisect", flags.bisect_cases,
                     "name the first op in which two cases differ: of the first two that do, or of "
                     "CASE_A CASE_B, such as full-2-sharded-embedded-mpi, and run nothing else")
          ->expected(0, 2);
  app.add_option("--steps", flags.steps, "steps per case")
      ->capture_default_str()
      ->check(AboveZero());
  app.add_option("--limit-s", flags.limit_s, "time limit per case, in seconds")
      ->capture_default_str()
      ->check(AboveZero());
  app.add_option("--mpirun", flags.mpirun, "launcher, such as \"mpirun --hostfile hosts\"")
      ->capture_default_str();
  app.add_option("--config", flags.config,
                 "configuration file to verify instead, run with numerics slot_exact");
  AddSets(app, flags.sets);
  app.add_option("--folder", flags.folder,
                 "empty folder for runs and logs, shared by all ranks; default: a temporary one");
  app.add_flag("--keep", flags.keep, "keep the temporary folder");
  if (const std::optional<int> code = ParseFlags(app, argc, argv)) return *code;
  InstallStopSignals();
  flags.bisect = bisect->count() > 0;
  std::erase(flags.bisect_cases, "");  // what CLI11 makes of the flag alone
  if (flags.bisect_cases.size() == 1) {
    std::fprintf(stderr, "blockstep verify: --bisect: expected two cases or none, got one\n");
    return kExitUsage;
  }
  const absl::StatusOr<bool> equal = Verify(flags);
  if (!equal.ok()) {
    std::fprintf(stderr, "blockstep verify: %s\n",
                 std::string(Std(equal.status().message())).c_str());
    return absl::IsCancelled(equal.status()) ? kExitStopped : ExitCodeOf(equal.status());
  }
  return *equal ? kExitOk : kExitFailure;
}

}  // namespace blockstep
