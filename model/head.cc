// Final norm, LM head and loss. Logits of one chunk of tokens exist at a time; the grid of chunks
// starts anew in every slot, so it depends on T alone.
#include <algorithm>

#include "core/base/status.h"
#include "model/micro_step.h"

namespace blockstep {
namespace {

void LossChunk(const MicroStep& m, HeadMode mode, Range rows, const TensorView& head, float* loss,
               const TensorView& logits, const std::vector<GradTarget>& targets) {
  const TensorView hidden = m.scratch.norm.Rows(rows.begin, rows.end);
  m.Linear(hidden, head, logits);
  if (mode == HeadMode::kLogits) return;
  const bool backward = mode == HeadMode::kTrain && m.plan.backward();
  m.kernels().cross_entropy(
      m.stream, {.logits = logits,
                 .targets = m.batch.targets + rows.begin,
                 .loss = loss + rows.begin,
                 .grad_scale = m.grad_scale,
                 .grad = backward ? CrossEntropyGrad::kInPlace : CrossEntropyGrad::kNone});
  if (!backward) return;
  for (size_t i = 0; i < targets.size(); ++i) {
    m.LinearWeightGradient(logits, hidden, m.set.entries[m.plan.head_entries[i]].rows,
                           targets[i].dw,
                           rows.begin == 0 ? targets[i].accumulate : Accumulate::kAdd);
  }
  // dW has read the hidden states of this chunk, nothing else will: their gradient takes the place.
  if (m.plan.d_hidden) m.LinearInputGradient(logits, head, hidden, Accumulate::kAssign);
}

}  // namespace

absl::Status MicroStep::Head(HeadMode mode, const Residual& residual, float* loss,
                             TensorView logits, std::vector<GradTarget>* tied_targets) const {
  const bool train = mode == HeadMode::kTrain;
  const bool through_norm = train && plan.d_hidden;
  const int norm_tensor = FinalNormTensor(config.layers);
  const TensorView rstd = through_norm ? phase.final_rstd.Cols(0, n) : TensorView{};
  std::vector<GradTarget> targets;
  if (train) {
    for (const int i : plan.head_entries) targets.push_back(sink->Target(i));
  }
  if (!empty()) {
    kernels().rms_norm_forward(stream, {.x = residual.x,
                                        .delta = residual.delta,
                                        .sum = through_norm ? scratch.x : TensorView{},
                                        .weight = NormWeight(norm_tensor),
                                        .y = scratch.norm,
                                        .rstd = rstd,
                                        .eps = static_cast<float>(config.rms_eps)});
    const TensorView head = units.Weight(HeadTensor(config.layers, config.tied));
    for (int64_t slot = 0; slot < batch.slots; ++slot) {
      for (int64_t t = 0; t < tokens; t += options.loss_chunk) {
        const int64_t end = std::min(t + options.loss_chunk, tokens);
        const Range rows{slot * tokens + t, slot * tokens + end};
        LossChunk(*this, mode, rows, head, loss,
                  mode == HeadMode::kLogits ? logits.Rows(rows.begin, rows.end)
                                            : scratch.logits.Rows(0, rows.size()),
                  targets);
      }
    }
  }
  if (!train) return absl::OkStatus();
  if (config.tied) {
    *tied_targets = std::move(targets);
  } else {
    for (const int i : plan.head_entries) RETURN_IF_ERROR(sink->Done(i, stream));
  }
  if (!plan.d_hidden) return absl::OkStatus();
  return NormGradients(
      plan.final_norm_entries,
      {.tensor = norm_tensor,
       .dy = scratch.norm,
       .s = scratch.x,
       .rstd = rstd,
       .dx = plan.d_final_input && !empty() ? phase.d_residual.Rows(0, n) : TensorView{}});
}

absl::Status MicroStep::EmbeddingGradients(const std::vector<GradTarget>& tied_targets) const {
  for (size_t i = 0; i < plan.embedding_entries.size(); ++i) {
    const int index = plan.embedding_entries[i];
    // Tied: the head has written its share already.
    GradTarget target = config.tied ? tied_targets[i] : sink->Target(index);
    if (config.tied) target.accumulate = Accumulate::kAdd;
    if (!empty()) {
      kernels().embedding_backward(stream, {.dout = phase.d_residual.Rows(0, n),
                                            .ids = batch.inputs,
                                            .dtable = target.dw,
                                            .first_row = set.entries[index].rows.begin,
                                            .accumulate = target.accumulate});
    }
    RETURN_IF_ERROR(sink->Done(index, stream));
  }
  return absl::OkStatus();
}

}  // namespace blockstep
