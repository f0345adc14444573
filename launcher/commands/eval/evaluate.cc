#include "launcher/commands/eval/evaluate.h"

#include <cmath>
#include <filesystem>

#include "core/backends/backends.h"
#include "core/base/status.h"
#include "core/data/unigram.h"
#include "core/io/file_ops.h"
#include "core/ops/matmul.h"
#include "dist/agreement.h"
#include "launcher/checkpoint/retention.h"
#include "launcher/checkpoint/weights_io.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/config/model_text.h"
#include "launcher/machine/threads.h"
#include "launcher/run/rank_run.h"
#include "launcher/train/plan/memory_plan.h"

namespace blockstep {
namespace {

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
      return Annotate(run.status(), Cat("run settings ", path,
                                        ": cannot be read; pass --tokens and --document-mask"));
    }
    data = run->data;
  }
  if (flags.tokens.has_value()) data.tokens = *flags.tokens;
  if (flags.document_mask.has_value()) data.document_mask = *flags.document_mask;
  data.train.clear();
  data.val = flags.data;
  return data;
}

absl::StatusOr<TrainConfig> ConfigOf(const EvalFlags& flags) {
  TrainConfig config;
  ASSIGN_OR_RETURN(config.model.path, WeightsFolder(flags.weights));
  ASSIGN_OR_RETURN(config.data, DataSettings(config.model.path, flags));
  // Which slots share a micro-step depends on the number of ranks, so it must not show: slots of
  // whole row tiles share none, any other slot goes alone (docs/numerics.md, rule 3).
  const bool whole_tiles = config.data.tokens % kMatmulRowTile == 0;
  config.batch.micro_slots = whole_tiles ? flags.micro_slots : 1;
  config.eval.slots = flags.slots;
  config.placement.mode =
      flags.placement == "pinned" ? PlacementMode::kPinned : PlacementMode::kSharded;
  return config;
}

// What all ranks must have in common, as text lines.
std::string SharedLines(const TrainConfig& config, const LlamaConfig& model,
                        const std::string& built) {
  return Cat("weights: ", config.model.path, "\n", ModelText(model), "tokens: ", config.data.tokens,
             "\ndocument_mask: ", config.data.document_mask,
             "\nmicro_slots: ", config.batch.micro_slots, "\nslots: ", config.eval.slots,
             "\npinned: ", config.placement.mode == PlacementMode::kPinned, "\n", built);
}

// Alone, a rank has no one to agree with, and its errors need not say whose they are.
absl::Status Agree(Communicator& control, const absl::Status& mine, const char* what) {
  return control.size() == 1 ? mine : AgreeOnStatus(&control, mine, what);
}

absl::StatusOr<double> UnigramPerplexity(const std::vector<std::string>& data, int64_t vocab) {
  std::vector<int64_t> counts(vocab);
  for (const std::string& path : data) {
    ASSIGN_OR_RETURN(const TokenFile file, TokenFile::Open({.path = path, .vocab_size = vocab}));
    ASSIGN_OR_RETURN(const std::vector<int64_t> more, CountTokens(file));
    for (size_t i = 0; i < more.size(); ++i) counts[i] += more[i];
  }
  return std::exp(UnigramCrossEntropy(counts));
}

}  // namespace

absl::StatusOr<EvalOutcome> EvaluateRank(const EvalFlags& flags, const RankGroup& group,
                                         int threads) {
  Communicator& control = *group.control;
  TrainConfig config;
  LlamaConfig model;
  const auto resolve = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(config, ConfigOf(flags));
    ASSIGN_OR_RETURN(model, ModelOf(config));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(Agree(control, resolve(), "weights"));
  absl::StatusOr<std::unique_ptr<ThreadPool>> pool = StartThreads(threads);
  RETURN_IF_ERROR(Agree(control, pool.status(), "threads"));
  const absl::StatusOr<int64_t> bytes =
      PlanEvaluation(config, model, {.ranks = group.size(), .threads = threads}, group.rank());
  RETURN_IF_ERROR(Agree(control, bytes.status(), "memory plan"));
  absl::StatusOr<std::unique_ptr<Session>> made = Session::Create(
      config, model,
      {.backend = &CpuBackend(), .group = group, .pool = pool->get(), .arena_bytes = *bytes});
  RETURN_IF_ERROR(Agree(control, made.status(), "session"));
  const std::unique_ptr<Session> session = *std::move(made);
  // Their number decides how many collectives there are, so files that differ show here.
  const std::string slots = Cat("sequences to evaluate: ", session->eval_slots(), "\n");
  RETURN_IF_ERROR(AgreeOnLines(control, SharedLines(config, model, slots)));
  EvalOutcome outcome;
  absl::StatusOr<double> unigram = 0.0;
  if (group.rank() == 0) unigram = UnigramPerplexity(flags.data, model.vocab);
  RETURN_IF_ERROR(Agree(control, unigram.status(), "token counts"));
  outcome.unigram_perplexity = *unigram;
  RETURN_IF_ERROR(session->InitWeights());
  if (group.rank() == 0) outcome.note = UnreadHead(config.model.path, session->model().table());
  ASSIGN_OR_RETURN(const auto evaluator, session->MakeEvaluator());
  ASSIGN_OR_RETURN(outcome.result, evaluator->Run(session->eval_slots(), session->model(),
                                                  session->units(), control, session->compute()));
  if (!std::isfinite(outcome.result.Loss())) {
    return WithExitCode(DataLoss("weights ", config.model.path, ": expected a finite loss over ",
                                 outcome.result.tokens, " tokens, got ", outcome.result.Loss()),
                        kExitNonFinite);
  }
  return outcome;
}

}  // namespace blockstep
