#include "launcher/train/plan/memory_plan.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "core/base/status.h"
#include "core/tensor/sharding.h"
#include "dist/null/null_communicator.h"
#include "launcher/checkpoint/content_sha256.h"
#include "launcher/checkpoint/save_pieces.h"
#include "launcher/machine/threads.h"
#include "launcher/train/session.h"
#include "launcher/train/trainer.h"
#include "model/llama_tensors.h"
#include "optim/policy/worst_phases.h"

namespace blockstep {
namespace {

// The phases in order, one step each.
class ListedSteps : public DirectiveSource {
 public:
  explicit ListedSteps(const std::vector<Directive>& list) : list_(list) {}
  absl::StatusOr<Directive> Await(int64_t step) override { return list_[step]; }
  const Directive* TryAwait(int64_t step) override {
    return step < static_cast<int64_t>(list_.size()) ? &list_[step] : nullptr;
  }
  absl::Status Report(const StepReport&) override { return absl::OkStatus(); }

 private:
  const std::vector<Directive>& list_;
};

CommBytes Since(const CommBytes& now, const CommBytes& then) {
  return {.all_gather = now.all_gather - then.all_gather,
          .reduce_scatter = now.reduce_scatter - then.reduce_scatter,
          .exchange = now.exchange - then.exchange,
          .broadcast = now.broadcast - then.broadcast,
          .calls = now.calls - then.calls};
}

// The most that a background save copies: the state it began with, and the rows that are
// written before it has them in its files, of the phase it began in and of one more.
class Staging {
 public:
  void Add(const ActiveSet& set, const ClassBytes& phase, Session& session) {
    int64_t rows = 0;
    for (const ActiveEntry& e : set.entries) {
      if (e.role != Role::kTrain || !session.grid().counts()) continue;
      const TensorView owned = session.units().Owned(e.tensor);
      rows += StagedBytes(session.units().OwnedRange(e.tensor), e.rows,
                          owned.cols * DTypeSize(owned.dtype), SaveOptions().max_slice_bytes);
    }
    rows_.push_back(RoundUp(rows, kArenaAlignment));
    state_ = std::max(state_, phase[static_cast<size_t>(MemoryClass::kState)]);
  }
  int64_t Most(size_t phase) const {
    int64_t other = 0;
    for (size_t i = 0; i < rows_.size(); ++i) other = std::max(other, i == phase ? 0 : rows_[i]);
    return state_ + rows_[phase] + other;
  }

 private:
  std::vector<int64_t> rows_;
  int64_t state_ = 0;
};

constexpr int64_t kAddresses = int64_t{1} << 44;

absl::StatusOr<std::unique_ptr<Session>> NullSession(const TrainConfig& config,
                                                     const LlamaConfig& model,
                                                     const PlanShape& shape, const RankGroup& group,
                                                     ThreadPool* pool) {
  return Session::Create(config, model,
                         {.backend = &NullBackend(),
                          .group = group,
                          .group_size = shape.group_size,
                          .pool = pool,
                          .arena_bytes = kAddresses});
}

// No set that a policy may take needs more: each class is at its largest in a planned phase, but
// for what is kept for backward and staged for reductions, which is largest where everything
// learns. A set of more tensors may be rounded up more often, and more of its quanta may fall to
// this rank.
int64_t ArenaBound(const RankPlan& plan, const PhasePlan& everything, const TensorTable& table,
                   int64_t slots) {
  constexpr int64_t kStates = 4;  // of an entry, at most; as many buffers again for dW and copies
  const int64_t blocks = 2 * kStates + std::bit_width(static_cast<uint64_t>(slots));
  int64_t bytes = 0;
  for (size_t c = 0; c < everything.carved.size(); ++c) {
    int64_t most = 0;
    for (const PhasePlan& phase : plan.phases) most = std::max(most, phase.carved[c]);
    const auto kind = static_cast<MemoryClass>(c);
    const bool of_all = kind == MemoryClass::kActivations || kind == MemoryClass::kCommunication;
    bytes += of_all ? std::max(most, everything.carved[c]) : most;
  }
  for (const TensorInfo& t : table.tensors) {
    bytes += blocks * kArenaAlignment +
             2 * kStates * QuantumRows(t.cols) * t.cols * DTypeSize(DType::kF32);
  }
  return bytes;
}

}  // namespace

int64_t Sum(const ClassBytes& bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
}

absl::StatusOr<int> GroupSizeOf(const TrainConfig& config, int ranks, int machine_ranks) {
  const TrainConfig::Placement& placement = config.placement;
  if (placement.mode != PlacementMode::kNode) return ranks;
  const int64_t size = placement.ranks_per_group > 0 ? placement.ranks_per_group : machine_ranks;
  if (size <= ranks && ranks % size == 0) return static_cast<int>(size);
  return InvalidArgument("placement.ranks_per_group: expected a divisor of the number of ranks (",
                         ranks, "), got ", size,
                         placement.ranks_per_group > 0 ? "" : ", the ranks of this machine");
}

absl::StatusOr<RankPlan> PlanRank(const TrainConfig& config, const LlamaConfig& model,
                                  const PlanShape& shape, int rank) {
  const TensorTable table = LlamaTensors(model);
  ASSIGN_OR_RETURN(const PolicyConfig policy, ResolvePolicy(config, table));
  RETURN_IF_ERROR(MakePolicy(policy, table).status());
  ASSIGN_OR_RETURN(RankPlan plan, PlanRank(config, model, shape, rank, WorstPhases(policy, table)));
  if (WorstPhasesAreAll(policy)) return plan;
  Directive all{.sets = {{}}, .label = "everything"};
  for (size_t t = 0; t < table.tensors.size(); ++t) {
    all.sets[0].entries.push_back(WholeTensor(table, static_cast<int>(t)));
  }
  ASSIGN_OR_RETURN(const RankPlan everything, PlanRank(config, model, shape, rank, {all}));
  plan.arena = ArenaBound(plan, everything.phases[0], table, config.batch.slots);
  return plan;
}

absl::StatusOr<RankPlan> PlanRank(const TrainConfig& config, const LlamaConfig& model,
                                  const PlanShape& shape, int rank,
                                  const std::vector<Directive>& phases) {
  CHECK(!phases.empty());
  const NullGroup null(shape.ranks, rank);
  ASSIGN_OR_RETURN(const std::unique_ptr<ThreadPool> pool, StartThreads(shape.threads));
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                   NullSession(config, model, shape, null.group(), pool.get()));
  // In the order in which Trainer makes them.
  ASSIGN_OR_RETURN(const std::unique_ptr<Evaluator> evaluator, session->MakeEvaluator());
  ListedSteps source(phases);
  ASSIGN_OR_RETURN(const std::unique_ptr<StepEngine> engine, session->MakeEngine(&source, {}));
  RankPlan plan{.rank = rank};
  Staging staging;
  // Two hashes come beside any phase, at the run's end, one after the other; not from the arena.
  const int64_t weights_hash = WeightsSha256Bytes(session->counted_weights(), shape.ranks, rank);
  for (size_t i = 0; i < phases.size(); ++i) {
    const CommBytes sent = session->grid().bytes_sent();
    NullCounters() = {};
    RETURN_IF_ERROR(engine->Run(static_cast<int64_t>(i)).status());
    plan.phases.push_back({.label = phases[i].label,
                           .bytes = session->arena().use().current,
                           .sent = Since(session->grid().bytes_sent(), sent),
                           .ops = NullCounters()});
    plan.phases[i].carved = plan.phases[i].bytes;
    const int64_t state_hash =
        StateSha256Bytes(session->model().table(), CountedState(engine->states(), session->grid()),
                         shape.ranks, rank);
    plan.phases[i].bytes[static_cast<size_t>(MemoryClass::kStaging)] +=
        std::max(weights_hash, state_hash);
    staging.Add(phases[i].sets[0], plan.phases[i].bytes, *session);
  }
  for (size_t i = 0; i < phases.size(); ++i) {
    const int64_t copies = PlansBackgroundSaves(config) ? staging.Most(i) : 0;
    plan.phases[i].bytes[static_cast<size_t>(MemoryClass::kStaging)] += copies;
    plan.phases[i].carved[static_cast<size_t>(MemoryClass::kStaging)] += copies;
    plan.arena = std::max(plan.arena, Sum(plan.phases[i].carved));
    if (Sum(plan.phases[i].bytes) > plan.total()) plan.worst = i;
  }
  plan.peak = session->arena().use().peak;
  return plan;
}

absl::StatusOr<int64_t> PlanEvaluation(const TrainConfig& config, const LlamaConfig& model,
                                       const PlanShape& shape, int rank) {
  const NullGroup null(shape.ranks, rank);
  ASSIGN_OR_RETURN(const std::unique_ptr<ThreadPool> pool, StartThreads(shape.threads));
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                   NullSession(config, model, shape, null.group(), pool.get()));
  RETURN_IF_ERROR(session->MakeEvaluator().status());
  return session->arena().use().total;
}

}  // namespace blockstep
