#include "tests/e2e/engine_harness.h"

#include <cstring>
#include <thread>

#include "core/backends/backends.h"
#include "core/base/op_digests.h"
#include "core/base/philox.h"
#include "core/base/sha256.h"
#include "core/tensor/device_access.h"
#include "dist/local/local_communicator.h"
#include "dist/staged_communicator.h"
#include "launcher/train/engine/step_digests.h"
#include "model/init.h"
#include "optim/rules/rules.h"
#include "tests/e2e/policy_source.h"

namespace blockstep::testing {
namespace {

constexpr int64_t kArenaBytes = int64_t{1} << 30;  // address space; touched as needed

LlamaConfig ModelOf(const RunSpec& spec) {
  return spec.model.has_value() ? *spec.model : TinyLlama(spec.tied);
}

absl::Status ReadTokens(int64_t position, int64_t count, int64_t tokens, int64_t vocab,
                        const SlotBuffers& out) {
  for (int64_t s = 0; s < count; ++s) {
    for (int64_t t = 0; t < tokens; ++t) {
      out.inputs[s * tokens + t] = TokenAt(position + s, t, vocab);
      out.targets[s * tokens + t] = TokenAt(position + s, t + 1, vocab);
    }
  }
  return absl::OkStatus();
}

class RankRun {
 public:
  RankRun(const RunSpec& spec, int rank, const RankGroup& group, SharedPolicy* policy)
      : spec_(spec), rank_(rank), group_(group), source_(policy), pool_(spec.threads) {}

  void Run(RunOutcome& outcome) {
    absl::StatusOr<const Backend*> backend =
        spec_.own_backend != nullptr ? spec_.own_backend : FindBackend(spec_.backend);
    CHECK_OK(backend);
    std::unique_ptr<StepDigests> digests;
    if (!spec_.digests.empty()) {
      auto made = StepDigests::Create(**backend, OpDigestPath(spec_.digests, rank_), rank_);
      CHECK_OK(made);
      digests = *std::move(made);
      backend = &digests->backend();
    }
    auto arena = Arena::Reserve(**backend, kArenaBytes);
    CHECK_OK(arena);
    auto compute = (*backend)->device.new_compute_stream("compute", &pool_, rank_);
    const DeviceAccess access{.backend = *backend, .stream = compute.get()};
    std::unique_ptr<StagedCommunicator> staged;
    if (!(*backend)->device.host_accessible) {
      staged = std::make_unique<StagedCommunicator>(**backend, *group_.data, &pool_);
      group_.data = staged.get();
    }
    const auto parts =
        GridParts::Split(group_, spec_.group_size > 0 ? spec_.group_size : group_.size());
    CHECK_OK(parts);
    const Grid& grid = (*parts)->grid();
    Tracer* tracer = spec_.tracers.empty() ? nullptr : spec_.tracers[rank_];
    const LlamaConfig config = ModelOf(spec_);
    auto model = Llama::Create(
        config,
        {.backend = *backend, .recompute = spec_.recompute, .loss_chunk = 16, .tracer = tracer});
    CHECK_OK(model);
    const TensorTable& table = (*model)->table();
    std::vector<char> pinned = spec_.pinned;
    pinned.resize(table.units.size(), 0);
    auto units = UnitStore::Create({.table = &table,
                                    .backend = *backend,
                                    .group = grid.inside,
                                    .pinned = pinned,
                                    .max_tokens = spec_.micro_slots * spec_.tokens,
                                    .tracer = tracer},
                                   *arena);
    CHECK_OK(units);
    CHECK_OK(
        (*model)->Reserve({.slots = spec_.micro_slots, .tokens = spec_.tokens}, *compute, *arena));
    for (int t = 0; t < static_cast<int>(table.tensors.size()); ++t) {
      const Range rows = (*units)->OwnedRange(t);
      if (rows.empty()) continue;
      CHECK_OK(access.Fill((*units)->Owned(t), [&](TensorView part, int64_t first) {
        const Range some{rows.begin + first, rows.begin + first + part.rows};
        if (spec_.init) {
          spec_.init(t, some, part.f32());
        } else {
          InitRows(table, t, some, {.seed = 1}, part.f32());
        }
        return absl::OkStatus();
      }));
    }
    CHECK_OK((*units)->PublishAll(*compute));
    CHECK_OK(compute->Synchronize());
    CHECK_OK(group_.data->Synchronize());

    auto rule = MakeRule(
        "adamw",
        {.beta2 = 0.95, .eps = spec_.eps, .weight_decay = 0.1, .decay_on = spec_.decay_on});
    CHECK_OK(rule);
    const int64_t steps = spec_.steps, tokens = spec_.tokens, vocab = config.vocab;
    const ScheduleConfig schedule =
        spec_.schedule.value_or(ScheduleConfig{.peak = spec_.lr, .warmup_steps = 3});
    const ReadSlots made_up = [=](int64_t position, int64_t count, const SlotBuffers& out) {
      return ReadTokens(position, count, tokens, vocab, out);
    };
    auto engine = StepEngine::Create(
        {.backend = *backend,
         .shape = {.grid = grid, .slots = spec_.slots, .micro_slots = spec_.micro_slots},
         .model = model->get(),
         .units = units->get(),
         .compute = compute.get(),
         .arena = &*arena,
         .tracer = tracer,
         .notes = digests.get(),
         .tokens = tokens,
         .seed = 5,
         .numerics = spec_.numerics,
         .accumulation = spec_.accumulation,
         .clip_norm = spec_.clip_norm,
         .measure_adam = spec_.measure_adam || NeedsAdamNorms(spec_.policy),
         .rules = {rule->get()},
         .learning_rate = [=](int64_t step) { return LearningRate(schedule, step, steps); },
         .read_slots = spec_.read_slots ? spec_.read_slots : made_up,
         .source = &source_});
    CHECK_OK(engine);
    const CommBytes before = grid.bytes_sent();
    int64_t first_slot = 0;
    for (int64_t step = 0; step < steps; ++step) {
      StepShape shape{.grid = grid, .slots = spec_.slots, .micro_slots = spec_.micro_slots};
      if (!spec_.slots_by_step.empty()) shape.slots = spec_.slots_by_step[step];
      auto result = (*engine)->Run(
          {.step = step, .first_slot = first_slot, .schedule_step = step, .shape = shape});
      first_slot += shape.slots;
      CHECK_OK(result);
      if (spec_.after_step) spec_.after_step(rank_, **engine, group_, *arena, *result);
      if (rank_ == 0) Note(*result, outcome);
    }
    CHECK_OK(compute->Synchronize());
    CHECK_OK(group_.data->Synchronize());
    const CommBytes after = grid.bytes_sent();
    outcome.bytes[rank_] = {.all_gather = after.all_gather - before.all_gather,
                            .reduce_scatter = after.reduce_scatter - before.reduce_scatter,
                            .exchange = after.exchange - before.exchange,
                            .broadcast = after.broadcast - before.broadcast,
                            .calls = after.calls - before.calls};
    for (size_t t = 0; t < table.tensors.size(); ++t) {
      const Range rows = (*units)->OwnedRange(static_cast<int>(t));
      const int64_t cols = table.tensors[t].cols;
      if (rows.empty() || !grid.counts()) continue;
      std::vector<char> buffer;
      const auto read = access.Read((*units)->Owned(static_cast<int>(t)), buffer);
      CHECK_OK(read);
      std::memcpy(outcome.weights[t].data() + rows.begin * cols, *read,
                  rows.size() * cols * sizeof(float));
    }
  }

 private:
  static void Note(const StepResult& result, RunOutcome& outcome) {
    std::string block = Cat(result.phase, ":");
    for (const TensorNorm& norm : result.report.norms) {
      if (norm.role == Role::kTrain) block += Cat(" ", norm.tensor, "/", norm.elements);
      if (norm.adam_squared_norm >= 0) {
        CHECK(norm.role == Role::kTrain);
        outcome.adam_norms.push_back(norm.adam_squared_norm);
      }
    }
    outcome.blocks.push_back(std::move(block));
    outcome.losses.push_back(result.report.loss_sum / static_cast<double>(result.report.tokens));
  }

  const RunSpec& spec_;
  int rank_;
  RankGroup group_;
  PolicySource source_;
  ThreadPool pool_;
};

std::unique_ptr<Policy> PolicyOf(const RunSpec& spec, const TensorTable& table) {
  PolicyConfig config = spec.policy;
  config.total_steps = spec.steps;
  auto policy = MakePolicy(config, table);
  CHECK_OK(policy);
  return *std::move(policy);
}

RunOutcome NewOutcome(const RunSpec& spec, const TensorTable& table) {
  RunOutcome outcome;
  outcome.bytes.resize(spec.ranks);
  for (const TensorInfo& t : table.tensors) outcome.weights.emplace_back(t.size());
  return outcome;
}

}  // namespace

// A walk with a few repeated patterns, which a small model can learn; the same for a position
// whatever the number of ranks.
int32_t TokenAt(int64_t position, int64_t t, int64_t vocab) {
  const uint64_t word = DrawU64(7, RandomUse::kTest, 1, position);
  return static_cast<int32_t>((word % 13 + t * (1 + word % 5)) % static_cast<uint64_t>(vocab));
}

LlamaConfig TinyLlama(bool tied) {
  return {.vocab = 96,
          .hidden = 32,
          .intermediate = 80,
          .layers = 2,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 8,
          .max_positions = 64,
          .tied = tied};
}

RunOutcome RunTrainingRank(const RunSpec& spec, const RankGroup& group) {
  CHECK(spec.policy.name == "scripted" || spec.policy.name == "full");
  const TensorTable table = LlamaTensors(ModelOf(spec));
  SharedPolicy policy(PolicyOf(spec, table));
  RunOutcome outcome = NewOutcome(spec, table);
  RankRun(spec, group.rank(), group, &policy).Run(outcome);
  return outcome;
}

RunOutcome RunTraining(const RunSpec& spec) {
  const TensorTable table = LlamaTensors(ModelOf(spec));
  SharedPolicy shared(PolicyOf(spec, table));
  RunOutcome outcome = NewOutcome(spec, table);
  const auto groups = LocalGroup::CreatePairs(
      spec.ranks, {.max_delay_us = spec.comm_delay_us,
                   .delay_seed = 3,
                   .call_sleep = std::chrono::microseconds(spec.call_sleep_us),
                   .tracers = spec.tracers});
  std::vector<std::thread> threads;
  for (int r = 0; r < spec.ranks; ++r) {
    threads.emplace_back([&, r] { RankRun(spec, r, groups[r].group(), &shared).Run(outcome); });
  }
  for (std::thread& t : threads) t.join();
  Sha256 sha;
  for (size_t t = 0; t < table.tensors.size(); ++t) {
    sha.Update(table.tensors[t].name);
    sha.Update(outcome.weights[t].data(), outcome.weights[t].size() * sizeof(float));
  }
  outcome.weights_hash = sha.Hex();
  return outcome;
}

}  // namespace blockstep::testing
