// blockstep eval: one process, or one rank of an mpirun; rank 0 prints.
#include <cstdio>

#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/flags.h"
#include "launcher/commands/command.h"
#include "launcher/commands/eval/evaluate.h"
#include "launcher/machine/threads.h"
#include "launcher/run/mpi_rank.h"

namespace blockstep {
namespace {

constexpr int64_t kMostSeconds = 100'000'000;  // of a time-out: three years

// Prints result or error; the exit code.
int Report(const EvalFlags& flags, const absl::StatusOr<EvalOutcome>& outcome) {
  if (!outcome.ok()) {
    std::fprintf(stderr, "blockstep eval: %s\n",
                 std::string(Std(outcome.status().message())).c_str());
    return ExitCodeOf(outcome.status());
  }
  if (!outcome->note.empty()) std::fprintf(stderr, "%s\n", outcome->note.c_str());
  const EvalResult& result = outcome->result;
  // JSON is for programs: its loss reads back as the same bits.
  std::printf(flags.json ? "{\"loss\": %.17g, \"perplexity\": %.4f, \"tokens\": %ld, "
                           "\"unigram_perplexity\": %.4f}\n"
                         : "loss %.6f  perplexity %.4f  tokens %ld  unigram perplexity %.4f\n",
              result.Loss(), result.Perplexity(), static_cast<long>(result.tokens),
              outcome->unigram_perplexity);
  return kExitOk;
}

int ThreadsOf(const EvalFlags& flags, int free_threads) {
  return flags.threads > 0 ? flags.threads : free_threads;
}

[[noreturn]] void EvaluateUnderMpiAndExit(const EvalFlags& flags) {
  absl::StatusOr<EvalOutcome> outcome = absl::UnknownError("did not run");
  Watchdog watchdog({.rank = LaunchedRank(), .ranks = LaunchedRanks()});
  RunOnMpiRankAndExit(watchdog, {.timeout_s = static_cast<double>(flags.comm_timeout_s),
                                 .run =
                                     [&](const MpiRank& rank) {
                                       outcome = EvaluateRank(flags, rank.group,
                                                              ThreadsOf(flags, rank.free_threads));
                                       return outcome.status();
                                     },
                                 .report =
                                     [&](const absl::Status& status) {
                                       return Report(flags, status.ok() ? outcome : status);
                                     },
                                 .exit_code = ExitCodeOf});
}

}  // namespace

int EvalCommand(int argc, char** argv) {
  EvalFlags flags;
  CLI::App app{
      "Evaluate weights on token files: mean loss and perplexity, and the unigram perplexity of "
      "the same tokens. Under mpirun the weights are sharded and the sequences divided; the result "
      "has the same bits."};
  app.name("blockstep eval");
  app.add_option("weights", flags.weights, "Hugging Face folder, checkpoint or run folder")
      ->required();
  app.add_option("data", flags.data, "token files")->required();
  app.add_option(
         "--tokens", flags.tokens,
         "sequence length; default: data.tokens of the run that wrote the weights, else 256")
      ->check(AboveZero());
  app.add_option("--document-mask", flags.document_mask,
                 "true: no attention across documents; default: data.document_mask of that run, "
                 "else false");
  app.add_option("--placement", flags.placement,
                 "sharded: weights divided over ranks; pinned: all of them on each rank")
      ->capture_default_str()
      ->check(OneOf({"sharded", "pinned"}));
  app.add_option("--micro-slots", flags.micro_slots,
                 "sequences per forward pass; 1 unless --tokens is a multiple of 64")
      ->capture_default_str()
      ->check(AboveZero());
  app.add_option("--slots", flags.slots, "evaluate only this many sequences; 0: all")
      ->capture_default_str()
      ->check(ZeroOrMore());
  app.add_option("--threads", flags.threads, "threads per rank; 0: as CPU affinity and quota allow")
      ->capture_default_str()
      ->check(ZeroOrMore());
  app.add_option("--comm-timeout", flags.comm_timeout_s,
                 "under mpirun: longest wait for another rank, in seconds; raise it where reading "
                 "weights takes one rank longer than others")
      ->capture_default_str()
      ->check(Between(1, kMostSeconds));
  app.add_flag("--json", flags.json, "print JSON");
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  if (LaunchedRanks() > 1) EvaluateUnderMpiAndExit(flags);
  const auto groups = LocalGroup::CreatePairs(1);
  return Report(flags,
                EvaluateRank(flags, groups[0].group(), ThreadsOf(flags, ThreadsPerRankHere(1))));
}

}  // namespace blockstep
