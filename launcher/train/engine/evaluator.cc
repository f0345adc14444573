#include "launcher/train/engine/evaluator.h"

#include <cmath>

#include "core/base/status.h"

namespace blockstep {
namespace {

struct RankSum {
  ExactSum loss;
  int64_t tokens = 0;
};

}  // namespace

double EvalResult::Perplexity() const { return std::exp(Loss()); }

absl::StatusOr<Evaluator> Evaluator::Create(const Backend& backend, int64_t micro_slots,
                                            int64_t tokens, DocumentMask mask, ReadSlots read_slots,
                                            Arena& arena) {
  Evaluator e;
  e.micro_slots_ = micro_slots;
  e.read_slots_ = std::move(read_slots);
  ASSIGN_OR_RETURN(e.buffers_, StepBuffers::Create(backend, micro_slots, tokens, 1, mask, arena));
  return e;
}

absl::StatusOr<EvalResult> Evaluator::Run(int64_t slots, Llama& model, UnitStore& units,
                                          Communicator& control, Stream& compute) {
  const Range mine = SplitEvenly(slots, control.size(), control.rank());
  const int64_t most = DivCeil(slots, control.size());  // SplitEvenly gives no rank more
  RankSum sum;
  for (int64_t done = 0; done < most; done += micro_slots_) {
    const int64_t at = mine.begin + done;
    const int64_t count = std::max<int64_t>(0, std::min(micro_slots_, mine.end - at));
    RETURN_IF_ERROR(buffers_.Read(read_slots_, at, count, compute));
    const RowIds ids = buffers_.Ids({0, count});
    RETURN_IF_ERROR(units.PlanRows({&ids, 1}));
    const MicroBatch batch = count > 0 ? buffers_.Batch({0, count}) : MicroBatch{};
    RETURN_IF_ERROR(model.ForwardLoss(batch, units, compute, buffers_.Loss(0)));
    buffers_.FetchLosses(count, compute);
    RETURN_IF_ERROR(compute.Synchronize());
    sum.loss.Add(buffers_.LossSum(count));
    sum.tokens += buffers_.CountedTokens(count);
  }
  std::vector<RankSum> all(control.size());
  RETURN_IF_ERROR(control.HostAllGather(&sum, sizeof sum, all.data(), "evaluation"));
  RankSum total;
  for (const RankSum& r : all) {
    total.loss.Add(r.loss);
    total.tokens += r.tokens;
  }
  return EvalResult{.loss_sum = total.loss.ToDouble(), .tokens = total.tokens};
}

}  // namespace blockstep
