#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "core/backends/backends.h"
#include "core/base/status.h"
#include "core/data/unigram.h"
#include "core/io/file_ops.h"
#include "dist/local/local_communicator.h"
#include "launcher/checkpoint/retention.h"
#include "launcher/checkpoint/weights_io.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/flags.h"
#include "launcher/commands/command.h"
#include "launcher/machine/threads.h"
#include "launcher/run/rank_run.h"

namespace blockstep {
namespace {

struct EvalFlags {
  std::string weights;
  std::vector<std::string> data;
  std::optional<int64_t> tokens;
  std::optional<bool> document_mask;
  int64_t micro_slots = 8, slots = 0;
  int threads = 0;
  bool json = false;
};

// A run folder stands for its last checkpoint.
absl::StatusOr<std::string> WeightsFolder(const std::string& path) {
  if (!std::filesystem::exists(path)) return NotFound("weights: ", path, " does not exist");
  if (!std::filesystem::exists(path + "/checkpoints")) return path;
  ASSIGN_OR_RETURN(const CheckpointName latest, LatestCheckpoint(path));
  return latest.folder;
}

// How the run that wrote the weights saw its data; of a folder that is no checkpoint, the defaults.
absl::StatusOr<TrainConfig::Data> DataSettings(const std::string& folder, const EvalFlags& flags) {
  TrainConfig::Data data;
  const std::string path = folder + "/trainer_state.pb";
  const bool asked = !flags.tokens.has_value() || !flags.document_mask.has_value();
  if (asked && std::filesystem::exists(path)) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadSmall(path));
    ASSIGN_OR_RETURN(const TrainerState state, ParseTrainerState(bytes, path));
    const absl::StatusOr<TrainConfig> run = ParseTrainConfig(state.config_text, path);
    if (!run.ok()) {
      return Annotate(run.status(), Cat("settings of the run in ", path,
                                        ": cannot be read; give --tokens and --document-mask"));
    }
    data = run->data;
  }
  if (flags.tokens.has_value()) data.tokens = *flags.tokens;
  if (flags.document_mask.has_value()) data.document_mask = *flags.document_mask;
  data.train.clear();
  data.val = flags.data;
  return data;
}

absl::Status Evaluate(const EvalFlags& flags) {
  TrainConfig config;
  ASSIGN_OR_RETURN(config.model.path, WeightsFolder(flags.weights));
  ASSIGN_OR_RETURN(config.data, DataSettings(config.model.path, flags));
  config.batch.micro_slots = flags.micro_slots;
  config.eval.slots = flags.slots;
  ASSIGN_OR_RETURN(const LlamaConfig model, ModelOf(config));
  auto groups = LocalGroup::Create(1);
  ThreadPool pool(flags.threads > 0 ? flags.threads : ThreadsPerRankHere(1));
  ASSIGN_OR_RETURN(const auto session, Session::Create(config, model,
                                                       {.backend = &CpuBackend(),
                                                        .group = groups[0].get(),
                                                        .pool = &pool,
                                                        .arena_bytes = ArenaAddressSpace()}));
  RETURN_IF_ERROR(session->InitWeights());
  const std::string unread = UnreadHead(config.model.path, session->model().table());
  if (!unread.empty()) std::fprintf(stderr, "%s\n", unread.c_str());
  ASSIGN_OR_RETURN(const auto evaluator, session->MakeEvaluator());
  ASSIGN_OR_RETURN(const EvalResult result,
                   evaluator->Run(session->eval_slots(), session->model(), session->units(),
                                  session->group(), session->compute()));
  if (!std::isfinite(result.Loss())) {
    return WithExitCode(DataLoss("weights ", config.model.path, ": the loss over ", result.tokens,
                                 " tokens is ", result.Loss(), ", wanted a finite number"),
                        kExitNonFinite);
  }
  std::vector<int64_t> counts(model.vocab);
  for (const std::string& path : flags.data) {
    ASSIGN_OR_RETURN(const TokenFile file,
                     TokenFile::Open({.path = path, .vocab_size = model.vocab}));
    ASSIGN_OR_RETURN(const std::vector<int64_t> more, CountTokens(file));
    for (size_t i = 0; i < more.size(); ++i) counts[i] += more[i];
  }
  const double unigram = std::exp(UnigramCrossEntropy(counts));
  std::printf(flags.json ? "{\"loss\": %.6f, \"perplexity\": %.4f, \"tokens\": %ld, "
                           "\"unigram_perplexity\": %.4f}\n"
                         : "loss %.6f  perplexity %.4f  tokens %ld  unigram perplexity %.4f\n",
              result.Loss(), result.Perplexity(), static_cast<long>(result.tokens), unigram);
  return absl::OkStatus();
}

}  // namespace

int EvalCommand(int argc, char** argv) {
  EvalFlags flags;
  CLI::App app{
      "Mean loss and perplexity of weights over token files, beside the perplexity of a "
      "model that only knows how often each of their tokens occurs."};
  app.name("blockstep eval");
  app.add_option("weights", flags.weights, "Hugging Face folder, checkpoint or run folder")
      ->required();
  app.add_option("data", flags.data, "token files")->required();
  app.add_option(
         "--tokens", flags.tokens,
         "tokens of a sequence; default: data.tokens of the run that wrote the weights, 256 "
         "for a folder of another program")
      ->check(AboveZero());
  app.add_option("--document-mask", flags.document_mask,
                 "true: no attention across documents; default: data.document_mask of that run, "
                 "else false");
  app.add_option("--micro-slots", flags.micro_slots, "sequences at once")
      ->capture_default_str()
      ->check(AboveZero());
  app.add_option("--slots", flags.slots, "only the first so many sequences; 0: all")
      ->capture_default_str()
      ->check(ZeroOrMore());
  app.add_option("--threads", flags.threads, "0: as affinity and quota allow")
      ->capture_default_str()
      ->check(ZeroOrMore());
  app.add_flag("--json", flags.json, "one JSON object");
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  const absl::Status status = Evaluate(flags);
  if (status.ok()) return kExitOk;
  std::fprintf(stderr, "blockstep eval: %s\n", std::string(Std(status.message())).c_str());
  return ExitCodeOf(status);
}

}  // namespace blockstep
