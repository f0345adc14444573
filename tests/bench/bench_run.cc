#include "tests/bench/bench_run.h"

#include <charconv>

#include "core/base/philox.h"
#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "model/init.h"
#include "model/llama_tensors.h"
#include "optim/rules/rules.h"
#include "tests/bench/timed_kernels.h"
#include "tests/e2e/policy_source.h"

namespace blockstep {
namespace {

constexpr int64_t kArenaBytes = int64_t{64} << 30;  // address space; touched as needed

// "block=3" or "block=mid": all tensors of one decoder layer for the whole run.
absl::StatusOr<ActiveSet> OneLayer(const std::string& policy, const TensorTable& table,
                                   int64_t layers) {
  const std::string name = policy.substr(policy.find('=') + 1);
  int64_t layer = layers / 2;
  if (name != "mid") {
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
    if (error != std::errc() || end != name.data() + name.size() || layer < 0 || layer >= layers) {
      return InvalidArgument("policy '", policy,
                             "': wanted block=mid or block=0 .. block=", layers - 1);
    }
  }
  ActiveSet set;
  for (const int t : table.units[LayerUnit(layer)].tensors) {
    set.entries.push_back(WholeTensor(table, t));
  }
  return set;
}

absl::StatusOr<PolicyConfig> PolicyFor(const BenchSpec& spec, const TensorTable& table,
                                       int64_t layers) {
  PolicyConfig config{.name = spec.policy, .total_steps = spec.steps};
  config.block_steps = 1;
  if (spec.policy.rfind("block=", 0) != 0) return config;
  config.name = "scripted";
  ASSIGN_OR_RETURN(ActiveSet set, OneLayer(spec.policy, table, layers));
  config.script.push_back({.set = std::move(set), .steps = spec.steps});
  return config;
}

}  // namespace

struct BenchRun::Impl {
  explicit Impl(const BenchSpec& s) : spec(s), pool(s.threads) {}

  BenchSpec spec;
  ThreadPool pool;
  std::unique_ptr<Arena> arena;
  std::unique_ptr<Stream> compute;
  std::vector<LocalPair> groups = LocalGroup::CreatePairs(1);
  std::unique_ptr<Llama> model;
  std::unique_ptr<UnitStore> units;
  std::unique_ptr<UpdateRule> rule;
  std::unique_ptr<testing::SharedPolicy> policy;
  std::unique_ptr<testing::PolicySource> source;
  std::unique_ptr<StepEngine> engine;

  absl::Status Assemble();
  absl::Status LoadWeights();
  absl::Status ReadSlots(int64_t position, int64_t count, const SlotBuffers& out) const;
};

absl::Status BenchRun::Impl::Assemble() {
  const Backend& backend = TimedCpuBackend();
  const int64_t micro = spec.numerics == Numerics::kSlotExact ? 1 : spec.slots;
  ASSIGN_OR_RETURN(Arena reserved, Arena::Reserve(backend, kArenaBytes));
  arena = std::make_unique<Arena>(std::move(reserved));
  compute = backend.device.new_compute_stream("compute", &pool, 0);
  ASSIGN_OR_RETURN(const LlamaConfig config, LlamaPreset(spec.preset, 0));
  LlamaOptions options{.backend = &backend, .recompute = spec.recompute};
  if (spec.loss_chunk > 0) options.loss_chunk = spec.loss_chunk;
  ASSIGN_OR_RETURN(model, Llama::Create(config, options));
  const TensorTable& table = model->table();
  ASSIGN_OR_RETURN(units, UnitStore::Create({.table = &table,
                                             .backend = &backend,
                                             .group = groups[0].group(),
                                             .pinned = std::vector<char>(table.units.size(), 1),
                                             .max_tokens = micro * spec.tokens},
                                            *arena));
  RETURN_IF_ERROR(model->Reserve({.slots = micro, .tokens = spec.tokens}, *compute, *arena));
  RETURN_IF_ERROR(LoadWeights());
  ASSIGN_OR_RETURN(rule, MakeRule("adamw", {}));
  ASSIGN_OR_RETURN(const PolicyConfig policy_config, PolicyFor(spec, table, config.layers));
  ASSIGN_OR_RETURN(auto made, MakePolicy(policy_config, table));
  policy = std::make_unique<testing::SharedPolicy>(std::move(made));
  source = std::make_unique<testing::PolicySource>(policy.get());
  ASSIGN_OR_RETURN(
      engine,
      StepEngine::Create(
          {.backend = &backend,
           .shape = {.grid = Grid::OneGroup(groups[0].group()),
                     .slots = spec.slots,
                     .micro_slots = micro},
           .model = model.get(),
           .units = units.get(),
           .compute = compute.get(),
           .arena = arena.get(),
           .tokens = spec.tokens,
           .numerics = spec.numerics,
           .rules = {rule.get()},
           .learning_rate = [](int64_t) { return 1e-3; },
           .read_slots = [this](int64_t position, int64_t count,
                                const SlotBuffers& out) { return ReadSlots(position, count, out); },
           .source = source.get()}));
  return absl::OkStatus();
}

absl::Status BenchRun::Impl::LoadWeights() {
  const TensorTable& table = model->table();
  std::vector<int> tensors;
  for (size_t t = 0; t < table.tensors.size(); ++t) tensors.push_back(static_cast<int>(t));
  pool.ParallelFor(static_cast<int64_t>(tensors.size()), [&](int64_t i) {
    const int t = tensors[i];
    InitRows(table, t, units->OwnedRange(t), {.seed = 1}, units->Owned(t).f32());
  });
  RETURN_IF_ERROR(units->PublishAll(*compute));
  return compute->Synchronize();
}

absl::Status BenchRun::Impl::ReadSlots(int64_t position, int64_t count,
                                       const SlotBuffers& out) const {
  const uint64_t vocab = static_cast<uint64_t>(model->config().vocab);
  for (int64_t i = 0; i < count * spec.tokens; ++i) {
    const int64_t at = position * spec.tokens + i;
    const auto token = [&](int64_t index) {
      return static_cast<int32_t>(DrawU64(7, RandomUse::kTest, 1, index) % vocab);
    };
    out.inputs[i] = token(at);
    out.targets[i] = token(at + 1);
  }
  return absl::OkStatus();
}

BenchRun::BenchRun(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BenchRun::~BenchRun() = default;

absl::StatusOr<std::unique_ptr<BenchRun>> BenchRun::Create(const BenchSpec& spec) {
  auto impl = std::make_unique<Impl>(spec);
  RETURN_IF_ERROR(impl->Assemble());
  return std::unique_ptr<BenchRun>(new BenchRun(std::move(impl)));
}

absl::StatusOr<StepResult> BenchRun::Step(int64_t step) { return impl_->engine->Run(step); }
ThreadPool& BenchRun::pool() { return impl_->pool; }
const LlamaConfig& BenchRun::config() const { return impl_->model->config(); }
const MemoryUse& BenchRun::memory() const { return impl_->arena->use(); }

int64_t BenchRun::parameters() const {
  int64_t sum = 0;
  for (const TensorInfo& t : impl_->model->table().tensors) sum += t.size();
  return sum;
}

}  // namespace blockstep
