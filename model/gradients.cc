// Linear layers and norms of a micro-step, and their gradients by active entry.
#include <cmath>

#include "core/base/status.h"
#include "model/micro_step.h"

namespace blockstep {

TensorView MicroStep::NormWeight(int tensor) const {
  return TensorView::Of(units.Weight(tensor).data, DType::kF32, 1, config.hidden);
}

float MicroStep::AttentionScale() const {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
}

void MicroStep::Linear(const TensorView& x, const TensorView& w, const TensorView& y) const {
  kernels().matmul(stream, {.a = x, .b = w, .d = y, .trans_b = Transpose::kYes});
}

void MicroStep::LinearInputGradient(const TensorView& dy, const TensorView& w, const TensorView& dx,
                                    Accumulate accumulate) const {
  kernels().matmul(stream, {.a = dy, .b = w, .d = dx, .accumulate = accumulate});
}

void MicroStep::LinearWeightGradient(const TensorView& dy, const TensorView& x, Range rows,
                                     const TensorView& dw, Accumulate accumulate) const {
  kernels().matmul(stream, {.a = dy.Cols(rows.begin, rows.end),
                            .b = x,
                            .d = dw,
                            .trans_a = Transpose::kYes,
                            .accumulate = accumulate,
                            .first_row = rows.begin});
}

absl::Status MicroStep::MatrixGradients(const std::vector<int>& entries, int tensor,
                                        const TensorView& dy, const TensorView& x) const {
  for (const int i : entries) {
    const ActiveEntry& entry = set.entries[i];
    if (entry.tensor != tensor) continue;
    const GradTarget target = sink->Target(i);
    if (!empty()) LinearWeightGradient(dy, x, entry.rows, target.dw, target.accumulate);
    RETURN_IF_ERROR(sink->Done(i, stream));
  }
  return absl::OkStatus();
}

absl::Status MicroStep::NormGradients(const std::vector<int>& entries,
                                      const NormGradientArgs& args) const {
  const KernelTable& k = kernels();
  const TensorView weight = empty() ? TensorView{} : NormWeight(args.tensor);
  TensorView dx = args.dx;
  for (const int i : entries) {
    const ActiveEntry& entry = set.entries[i];
    if (entry.tensor != args.tensor) continue;
    const GradTarget target = sink->Target(i);
    if (!empty()) {
      // Columns are independent, so a row range of the vector is a slice of columns here. The whole
      // vector shares its pass with dx; a part goes alone.
      const auto [begin, end] = entry.rows;
      const bool whole = entry.rows.size() == config.hidden;
      k.rms_norm_backward(
          stream, {.dy = args.dy.Cols(begin, end),
                   .s = args.s.Cols(begin, end),
                   .rstd = args.rstd,
                   .weight = weight.Cols(begin, end),
                   .dx = whole ? dx : TensorView{},
                   .dx_accumulate = args.dx_accumulate,
                   .dweight = TensorView::Of(target.dw.data, DType::kF32, 1, entry.rows.size()),
                   .dweight_accumulate = target.accumulate});
      if (whole) dx = {};
    }
    RETURN_IF_ERROR(sink->Done(i, stream));
  }
  if (dx.defined() && !empty()) {
    k.rms_norm_backward(stream, {.dy = args.dy,
                                 .s = args.s,
                                 .rstd = args.rstd,
                                 .weight = weight,
                                 .dx = dx,
                                 .dx_accumulate = args.dx_accumulate});
  }
  return absl::OkStatus();
}

void MicroStep::Rotate(const TensorView& x, int64_t heads, RopeDirection direction) const {
  kernels().rope(stream, {.x = x,
                          .heads = heads,
                          .head_dim = config.head_dim,
                          .cos = run.rope_cos,
                          .sin = run.rope_sin,
                          .tokens_per_slot = tokens,
                          .direction = direction});
}

}  // namespace blockstep
