#include "launcher/train/plan/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "core/base/status.h"
#include "dist/null/null_communicator.h"
#include "launcher/checkpoint/content_sha256.h"
#include "launcher/checkpoint/save_pieces.h"
#include "launcher/machine/threads.h"
#include "launcher/train/plan/arena_bound.h"
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

// Whether a run may take active sets that are not among its planned phases.
enum class OtherSets : uint8_t { kNone, kSome };

// The most that a background save copies: the state it began with, and the rows that are
// written before it has them in its files, of the phase it began in and of one more. That one may
// be as large as the largest where the policy takes other sets than the planned ones.
class Staging {
 public:
  explicit Staging(OtherSets others) : others_(others) {}
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
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (i != phase || others_ == OtherSets::kSome) other = std::max(other, rows_[i]);
    }
    return state_ + rows_[phase] + other;
  }

 private:
  OtherSets others_;
  std::vector<int64_t> rows_;
  int64_t state_ = 0;
};

// A plan needs no memory, but an address for every byte. A quarter of what the system gives at
// most, so that other ranks of the process can plan at the same time: 16 TiB where nothing limits
// it.
int64_t Addresses() {
  const DeviceFunctions& device = NullBackend().device;
  int64_t bytes = int64_t{1} << 46;
  for (; bytes > int64_t{1} << 34; bytes /= 4) {
    const absl::StatusOr<void*> some = device.reserve(bytes);
    if (!some.ok()) continue;
    device.release(*some, bytes);
    break;
  }
  return bytes / 4;
}

absl::StatusOr<std::unique_ptr<Session>> NullSession(const TrainConfig& config,
                                                     const LlamaConfig& model,
                                                     const PlanShape& shape, const RankGroup& group,
                                                     ThreadPool* pool) {
  return Session::Create(config, model,
                         {.backend = &NullBackend(),
                          .group = group,
                          .group_size = shape.group_size,
                          .pool = pool,
                          .arena_bytes = Addresses()});
}

absl::StatusOr<RankPlan> PlanPhases(const TrainConfig& config, const LlamaConfig& model,
                                    const PlanShape& shape, int rank,
                                    const std::vector<Directive>& phases, OtherSets others) {
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
  Staging staging(others);
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
  const OtherSets others = WorstPhasesAreAll(policy) ? OtherSets::kNone : OtherSets::kSome;
  ASSIGN_OR_RETURN(RankPlan plan,
                   PlanPhases(config, model, shape, rank, WorstPhases(policy, table), others));
  if (others == OtherSets::kNone) return plan;
  Directive all{.sets = {{}}, .label = "everything"};
  for (size_t t = 0; t < table.tensors.size(); ++t) {
    all.sets[0].entries.push_back(WholeTensor(table, static_cast<int>(t)));
  }
  ASSIGN_OR_RETURN(const RankPlan everything, PlanRank(config, model, shape, rank, {all}));
  plan.arena = ArenaBound(plan, everything.phases[0], table, config, shape.ranks);
  return plan;
}

absl::StatusOr<RankPlan> PlanRank(const TrainConfig& config, const LlamaConfig& model,
                                  const PlanShape& shape, int rank,
                                  const std::vector<Directive>& phases) {
  return PlanPhases(config, model, shape, rank, phases, OtherSets::kNone);
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
