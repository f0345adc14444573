#include "launcher/train/session.h"

#include "core/base/op_digests.h"
#include "core/base/status.h"
#include "core/data/safetensors.h"
#include "dist/resident_weights.h"
#include "launcher/checkpoint/content_sha256.h"
#include "launcher/checkpoint/weights_io.h"
#include "model/init.h"
#include "optim/rules/rules.h"
#include "optim/schedule.h"

namespace blockstep {
namespace {

std::vector<char> ChoosePins(const TrainConfig& config, const TensorTable& table, int64_t shards) {
  switch (config.placement.mode) {
    case PlacementMode::kSharded:
    case PlacementMode::kNode:
      return std::vector<char>(table.units.size(), 0);
    case PlacementMode::kPinned:
      return std::vector<char>(table.units.size(), 1);
    case PlacementMode::kBudget:
      return PinsWithin(table, shards, config.placement.pin_budget_bytes);
  }
  return {};
}

// Ids that are looked at before the run begins: 0.1 s, once.
constexpr int64_t kTokensChecked = int64_t{1} << 26;

absl::StatusOr<std::vector<SlotRecord>> ReadInto(const SlotBuffers& out, const BatchReader& reader,
                                                 int64_t position, int64_t count, DiskWatch* disk) {
  const DiskWatch::Wait wait(disk, "data");
  return reader.Read({position, position + count},
                     {.inputs = out.inputs, .targets = out.targets, .first_key = out.first_key});
}

ScheduleConfig ScheduleOf(const TrainConfig& config) {
  static constexpr ScheduleKind kKinds[] = {ScheduleKind::kConstant, ScheduleKind::kLinear,
                                            ScheduleKind::kCosine};
  const TrainConfig::Optimizer& opt = config.optimizer;
  return {.kind = kKinds[static_cast<size_t>(opt.schedule.shape)],
          .peak = opt.lr,
          .warmup_steps = opt.schedule.warmup_steps,
          .floor_ratio = opt.schedule.floor};
}

// One reduction a step suits small active sets; full training would hold a whole local gradient.
GradAccumulation AccumulationOf(const TrainConfig& config) {
  switch (config.train.accumulate) {
    case AccumulateChoice::kLocal:
      return GradAccumulation::kLocal;
    case AccumulateChoice::kSharded:
      return GradAccumulation::kSharded;
    case AccumulateChoice::kAuto:
      break;
  }
  const bool sharded =
      config.policy.name == "full" && config.train.numerics != Numerics::kSlotExact;
  return sharded ? GradAccumulation::kSharded : GradAccumulation::kLocal;
}

// Documents that no token ends are one document: the mask would do nothing, unseen.
absl::Status CheckDocumentsEnd(const std::vector<std::string>& paths, const LlamaConfig& model) {
  int64_t left = kTokensChecked;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(const TokenFile file,
                     TokenFile::Open({.path = path, .vocab_size = model.vocab}));
    ASSIGN_OR_RETURN(const bool ends, file.Holds(static_cast<int32_t>(model.eos), left));
    if (ends) return absl::OkStatus();
    left -= std::min(left, file.tokens());
  }
  return InvalidArgument(
      "data.document_mask: expected token ", model.eos,
      " (the model's eos_token_id) at the end of each document, got none among the first ",
      kTokensChecked - left, " tokens of data.train (", paths[0], paths.size() > 1 ? ", ..." : "",
      "): tokenize with it, fix eos_token_id, or turn the mask off");
}

DocumentMask MaskOf(const TrainConfig& config) {
  return config.data.document_mask ? DocumentMask::kOn : DocumentMask::kOff;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Session>> Session::Create(const TrainConfig& config,
                                                         const LlamaConfig& model, SessionEnv env) {
  std::unique_ptr<StepDigests> digests;
  if (!config.runtime.digests.empty() && env.backend->device.real_memory) {
    const int rank = env.group.rank();
    ASSIGN_OR_RETURN(digests, StepDigests::Create(
                                  *env.backend, OpDigestPath(config.runtime.digests, rank), rank));
    env.backend = &digests->backend();
  }
  ASSIGN_OR_RETURN(Arena arena, Arena::Reserve(*env.backend, env.arena_bytes));
  std::unique_ptr<Session> session(new Session(config, env, std::move(arena)));
  session->digests_ = std::move(digests);
  RETURN_IF_ERROR(session->Build(model));
  return session;
}

absl::StatusOr<std::unique_ptr<BatchReader>> Session::OpenData(
    const std::vector<std::string>& paths, SlotOrderKind order) {
  const LlamaConfig& model = model_->config();
  std::vector<TokenFile> files;
  int64_t to_check = kTokensChecked;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(TokenFile file, TokenFile::Open({.path = path, .vocab_size = model.vocab}));
    // Text of another tokenizer shows in its first ids; each rank reads a part of them.
    const int64_t checked = std::min(file.tokens(), to_check);
    to_check -= checked;
    const absl::Status ids =
        file.CheckIds(SplitEvenly(checked, env_.group.size(), env_.group.rank()));
    if (absl::IsDataLoss(ids)) {
      return DataLoss(ids.message(), config_.model.preset.empty()
                                         ? "; vocab_size in the model's config.json sets it"
                                         : "; model.vocab sets it for a preset");
    }
    RETURN_IF_ERROR(ids);
    files.push_back(std::move(file));
  }
  ASSIGN_OR_RETURN(BatchReader reader,
                   BatchReader::Create(std::move(files), {.slot_tokens = config_.data.tokens,
                                                          .order = order,
                                                          .seed = config_.train.seed,
                                                          .eos = static_cast<int32_t>(model.eos)}));
  return std::make_unique<BatchReader>(std::move(reader));
}

absl::Status Session::Build(const LlamaConfig& model) {
  const DeviceFunctions& device = env_.backend->device;
  compute_ = device.new_compute_stream("compute", env_.pool, env_.group.rank());
  if (device.real_memory && !device.host_accessible) {
    staged_ = std::make_unique<StagedCommunicator>(*env_.backend, *env_.group.data, env_.pool);
    env_.group.data = staged_.get();
  }
  ASSIGN_OR_RETURN(parts_, GridParts::Split(env_.group, env_.group_size > 0 ? env_.group_size
                                                                            : env_.group.size()));
  ASSIGN_OR_RETURN(model_, Llama::Create(model, {.backend = env_.backend,
                                                 .recompute = config_.train.recompute,
                                                 .loss_chunk = config_.train.loss_chunk,
                                                 .tracer = env_.tracer}));
  if (config_.data.tokens > model.max_positions) {
    return InvalidArgument("data.tokens: expected at most ", model.max_positions,
                           " (the model's max_position_embeddings), got ", config_.data.tokens);
  }
  if (config_.data.document_mask && (model.eos < 0 || model.eos >= model.vocab)) {
    return InvalidArgument(
        "data.document_mask: expected an eos_token_id below ", model.vocab,
        " in the model's configuration (it ends a document in the token files), got ",
        model.eos < 0 ? "none" : Cat(model.eos));
  }
  const TrainConfig::Optimizer& opt = config_.optimizer;
  ASSIGN_OR_RETURN(rule_, MakeRule("adamw", {.beta1 = opt.beta1,
                                             .beta2 = opt.beta2,
                                             .eps = opt.eps,
                                             .weight_decay = opt.weight_decay,
                                             .decay_on = opt.weight_decay_on}));
  // Without memory nothing is read, and what is planned need not have its data here.
  const bool reads = env_.backend->device.real_memory;
  if (reads && !config_.data.train.empty()) {
    ASSIGN_OR_RETURN(train_, OpenData(config_.data.train, config_.data.order));
    if (config_.data.document_mask) {
      RETURN_IF_ERROR(CheckDocumentsEnd(config_.data.train, model));
    }
  }
  if (reads && !config_.data.val.empty()) {
    ASSIGN_OR_RETURN(val_, OpenData(config_.data.val, SlotOrderKind::kFile));
    const int64_t have = val_->order().slots();
    eval_slots_ = config_.eval.slots > 0 ? std::min(config_.eval.slots, have) : have;
  }
  ASSIGN_OR_RETURN(
      units_,
      UnitStore::Create({.table = &model_->table(),
                         .backend = env_.backend,
                         .group = grid().inside,
                         .pinned = ChoosePins(config_, model_->table(), grid().inside.size()),
                         .max_tokens = config_.batch.micro_slots * config_.data.tokens,
                         .tracer = env_.tracer},
                        arena_));
  return model_->Reserve({.slots = config_.batch.micro_slots, .tokens = config_.data.tokens},
                         *compute_, arena_);
}

ReadSlots Session::ReadTraining(SlotsRead on_slots) const {
  return [this, on_slots = std::move(on_slots)](int64_t position, int64_t count,
                                                const SlotBuffers& out) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<SlotRecord> records,
                     ReadInto(out, *train_, position + data_offset_, count, env_.disk));
    if (on_slots) on_slots(position / config_.batch.slots, records);
    return absl::OkStatus();
  };
}

std::string Session::DataOrder() const {
  const bool shuffled = config_.data.order == SlotOrderKind::kShuffled;
  return Cat(
      train_->order().slots(), " slots of ", train_->slot_tokens(), " tokens, ",
      shuffled ? Cat("shuffled by seed ", config_.train.seed) : std::string("in file order"));
}

void Session::StoreDataCursor(TrainerState& state) const {
  if (train_ == nullptr) return;
  const int64_t position = state.step * config_.batch.slots + data_offset_;
  state.epoch = position / train_->order().slots();
  state.slot = position % train_->order().slots();
  state.data_order = DataOrder();
}

std::string Session::ResumeData(const TrainerState& state) {
  if (train_ == nullptr) return "";
  const bool same = state.data_order == DataOrder();
  const int64_t position = same ? state.epoch * train_->order().slots() + state.slot : 0;
  data_offset_ = position - state.step * config_.batch.slots;
  if (same) return "";
  return Cat("data order changed; restarting the epoch\n  checkpoint: slot ", state.slot,
             " of epoch ", state.epoch, ", ", state.data_order, "\n  now: ", DataOrder());
}

absl::Status Session::InitWeights() {
  if (!env_.backend->device.real_memory) return absl::OkStatus();
  if (!config_.model.path.empty()) {
    RETURN_IF_ERROR(
        LoadHuggingFaceWeights(config_.model.path, owned_weights(), env_.group.control));
    return PublishWeights();
  }
  const TensorTable& table = model_->table();
  for (int t = 0; t < static_cast<int>(table.tensors.size()); ++t) {
    const Range rows = units_->OwnedRange(t);
    if (rows.empty()) continue;
    const InitArgs init{.seed = config_.model.init_seed, .range = model_->config().init_range};
    RETURN_IF_ERROR(access().Fill(units_->Owned(t), [&](TensorView part, int64_t first) {
      const int64_t begin = rows.begin + first;
      InitRows(table, t, {begin, begin + part.rows}, init, part.f32());
      return absl::OkStatus();
    }));
  }
  return PublishWeights();
}

absl::Status Session::PublishWeights() {
  RETURN_IF_ERROR(units_->PublishAll(*compute_));
  RETURN_IF_ERROR(compute_->Synchronize());
  return env_.group.data->Synchronize();
}

absl::StatusOr<std::unique_ptr<StepEngine>> Session::MakeEngine(
    DirectiveSource* source, std::function<bool()> stop_requested, SaveHooks saves,
    SlotsRead on_slots) {
  const ScheduleConfig schedule = ScheduleOf(config_);
  const int64_t steps = config_.train.steps;
  return StepEngine::Create({
      .backend = env_.backend,
      .shape = {.grid = grid(),
                .slots = config_.batch.slots,
                .micro_slots = config_.batch.micro_slots},
      .model = model_.get(),
      .units = units_.get(),
      .compute = compute_.get(),
      .arena = &arena_,
      .tracer = env_.tracer,
      .notes = digests_.get(),
      .tokens = config_.data.tokens,
      .seed = config_.train.seed,
      .numerics = config_.train.numerics,
      .accumulation = AccumulationOf(config_),
      .document_mask = MaskOf(config_),
      .clip_norm = config_.train.clip_norm,
      .measure_adam = NeedsAdamNorms(config_.policy),
      .rules = {rule_.get()},
      .learning_rate = [schedule,
                        steps](int64_t step) { return LearningRate(schedule, step, steps); },
      .read_slots = ReadTraining(std::move(on_slots)),
      .source = source,
      .stop_requested = std::move(stop_requested),
      .saves = std::move(saves),
  });
}

absl::StatusOr<std::unique_ptr<Evaluator>> Session::MakeEvaluator() {
  if (config_.data.val.empty()) return nullptr;
  const auto read = [this](int64_t position, int64_t count, const SlotBuffers& out) {
    return ReadInto(out, *val_, position, count, env_.disk).status();
  };
  ASSIGN_OR_RETURN(Evaluator evaluator,
                   Evaluator::Create(*env_.backend, config_.batch.micro_slots, config_.data.tokens,
                                     MaskOf(config_), read, arena_));
  return std::make_unique<Evaluator>(std::move(evaluator));
}

OwnedWeights Session::owned_weights() {
  return {.table = &model_->table(),
          .owned = [this](int tensor) { return units_->Owned(tensor); },
          .owned_range = [this](int tensor) { return units_->OwnedRange(tensor); },
          .access = access()};
}

OwnedWeights Session::counted_weights() {
  OwnedWeights weights = owned_weights();
  if (grid().counts()) return weights;
  weights.owned = [this](int tensor) { return units_->Owned(tensor).Rows(0, 0); };
  weights.owned_range = [this](int tensor) {
    const int64_t begin = units_->OwnedRange(tensor).begin;
    return Range{begin, begin};
  };
  return weights;
}

absl::StatusOr<std::string> Session::WeightsHash() {
  RETURN_IF_ERROR(compute_->Synchronize());
  return WeightsSha256(counted_weights(), env_.group.control);
}

}  // namespace blockstep
