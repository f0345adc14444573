#include "model/llama.h"

#include <algorithm>
#include <cstring>

#include "core/base/status.h"
#include "core/tensor/device_access.h"
#include "model/micro_step.h"
#include "model/rope_table.h"
#include "model/stream_span.h"

namespace blockstep {

struct Llama::Impl {
  LlamaConfig config;
  LlamaOptions options;
  TensorTable table;
  BatchShape shape;
  ActiveSet set;
  SavePlan plan;
  RunBuffers run;
  PhaseBuffers phase;

  MicroStep Begin(const MicroBatch& batch, UnitSource& units, Stream& compute) const {
    CHECK_LE(0, batch.slots);
    CHECK_LE(batch.slots, shape.slots);
    const int64_t n = batch.slots * shape.tokens;
    return {.config = config,
            .options = options,
            .table = table,
            .plan = plan,
            .set = set,
            .run = run,
            .phase = phase,
            .batch = batch,
            .tokens = shape.tokens,
            .units = units,
            .stream = compute,
            .n = n,
            .scratch = run.scratch.First(n)};
  }
  StreamSpan Span(const MicroStep& m, std::string_view what, int64_t layer) const {
    return StreamSpan(options.tracer, m.stream, what, layer);
  }

  // Embedding and all layers; returns with the head's unit prefetched.
  absl::StatusOr<Residual> Forward(const MicroStep& m, const PhaseBuffers& keep) const;
  absl::Status Backward(const MicroStep& m, const std::vector<GradTarget>& tied_targets) const;
  absl::Status ForwardOnly(const MicroStep& m, HeadMode mode, float* loss, TensorView logits) const;
};

absl::StatusOr<Residual> Llama::Impl::Forward(const MicroStep& m, const PhaseBuffers& keep) const {
  RETURN_IF_ERROR(m.units.Prefetch(LayerUnit(0)));
  const LayerBuffers first = keep.layers[0].First(m.n);
  Residual residual{.x = first.input.defined() ? first.input : m.scratch.x};
  RETURN_IF_ERROR(m.units.GatherRows(kEmbeddingTensor, m.batch.inputs, m.n, residual.x, m.stream));
  for (int64_t l = 0; l < config.layers; ++l) {
    RETURN_IF_ERROR(m.units.Acquire(LayerUnit(l), m.stream));
    RETURN_IF_ERROR(
        m.units.Prefetch(l + 1 < config.layers ? LayerUnit(l + 1) : HeadUnit(config.layers)));
    {
      const StreamSpan span = Span(m, "forward layer", l);
      m.ForwardLayer(l, LayerOps::All(), keep.layers[l].First(m.n), residual);
    }
    RETURN_IF_ERROR(m.units.Release(LayerUnit(l), m.stream));
  }
  return residual;
}

absl::Status Llama::Impl::Backward(const MicroStep& m,
                                   const std::vector<GradTarget>& tied_targets) const {
  for (int64_t l = config.layers - 1; l >= 0 && plan.layers[l].backward; --l) {
    const LayerPlan& p = plan.layers[l];
    if (p.backward_weights) RETURN_IF_ERROR(m.units.Acquire(LayerUnit(l), m.stream));
    // The topmost two were asked for before the head.
    if (l > 0 && l + 1 < config.layers && plan.layers[l - 1].backward_weights) {
      RETURN_IF_ERROR(m.units.Prefetch(LayerUnit(l - 1)));
    }
    LayerBuffers saved = phase.layers[l].First(m.n);
    if (p.recompute) {
      const StreamSpan span = Span(m, "recompute layer", l);
      const TensorView input = saved.input;
      saved = phase.rerun.First(m.n);
      Residual residual{.x = input};
      m.ForwardLayer(l, p.rerun, saved, residual);
      saved.input = input;
    }
    {
      const StreamSpan span = Span(m, "backward layer", l);
      RETURN_IF_ERROR(m.BackwardLayer(l, saved));
    }
    if (p.backward_weights) RETURN_IF_ERROR(m.units.Release(LayerUnit(l), m.stream));
  }
  return m.EmbeddingGradients(tied_targets);
}

absl::Status Llama::Impl::ForwardOnly(const MicroStep& m, HeadMode mode, float* loss,
                                      TensorView logits) const {
  PhaseBuffers nothing;
  nothing.layers.resize(config.layers);
  ASSIGN_OR_RETURN(const Residual residual, Forward(m, nothing));
  const int head = HeadUnit(config.layers);
  RETURN_IF_ERROR(m.units.Acquire(head, m.stream));
  RETURN_IF_ERROR(m.Head(mode, residual, loss, logits, nullptr));
  return m.units.Release(head, m.stream);
}

absl::StatusOr<std::unique_ptr<Llama>> Llama::Create(const LlamaConfig& config,
                                                     LlamaOptions options) {
  CHECK(options.backend != nullptr && options.backend->kernels != nullptr);
  if (options.loss_chunk < 1) {
    return InvalidArgument("loss_chunk: expected at least 1 token, got ", options.loss_chunk);
  }
  CHECK_LT(0, config.layers);
  CHECK_EQ(config.heads % config.kv_heads, 0);
  auto impl = std::make_unique<Impl>();
  impl->config = config;
  impl->options = options;
  impl->table = LlamaTensors(config);
  return std::unique_ptr<Llama>(new Llama(std::move(impl)));
}

Llama::Llama(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Llama::~Llama() = default;
const TensorTable& Llama::table() const { return impl_->table; }
const LlamaConfig& Llama::config() const { return impl_->config; }
const SavePlan& Llama::plan() const { return impl_->plan; }

absl::Status Llama::Reserve(BatchShape shape, Stream& compute, Arena& arena) {
  Impl& m = *impl_;
  CHECK_LT(0, shape.slots);
  CHECK_LT(0, shape.tokens);
  if (shape.tokens > m.config.max_positions) {
    return InvalidArgument("expected slots of at most ", m.config.max_positions,
                           " tokens (max_position_embeddings), got ", shape.tokens);
  }
  m.shape = shape;
  ASSIGN_OR_RETURN(m.run,
                   CarveRunBuffers(m.config, m.options, shape, compute.pool()->threads(), arena));
  if (!m.options.backend->device.real_memory) return absl::OkStatus();
  const RopeTable table = MakeRopeTable(m.config, shape.tokens);
  const DeviceAccess access{.backend = m.options.backend, .stream = &compute};
  const auto fill = [&](TensorView view, const std::vector<float>& values) {
    return access.Fill(view, [&](TensorView rows, int64_t first) {
      std::memcpy(rows.data, values.data() + first * view.cols, static_cast<size_t>(rows.bytes()));
      return absl::OkStatus();
    });
  };
  RETURN_IF_ERROR(fill(m.run.rope_cos, table.cos));
  return fill(m.run.rope_sin, table.sin);
}

absl::Status Llama::BeginPhase(const ActiveSet& set, Arena& arena) {
  Impl& m = *impl_;
  CHECK_LT(0, m.shape.slots);
  m.set = set;
  m.plan = MakeSavePlan(set, m.table, m.options.recompute);
  ASSIGN_OR_RETURN(m.phase, CarvePhaseBuffers(m.config, m.options, m.plan, m.shape, arena));
  return absl::OkStatus();
}

absl::Status Llama::ForwardBackward(const MicroBatch& batch, float grad_scale, UnitSource& units,
                                    GradSink& sink, Stream& compute, float* loss) {
  const Impl& impl = *impl_;
  CHECK_EQ(impl.phase.layers.size(), static_cast<size_t>(impl.config.layers));
  MicroStep m = impl.Begin(batch, units, compute);
  m.sink = &sink;
  m.grad_scale = grad_scale;
  ASSIGN_OR_RETURN(const Residual residual, impl.Forward(m, impl.phase));
  const int head = HeadUnit(impl.config.layers);
  RETURN_IF_ERROR(units.Acquire(head, compute));
  // Layers hold no weights while the head computes, so there is room for the two that backward
  // begins with; asked for here, they go ahead of the gradients of the head.
  for (int64_t l = impl.config.layers - 1; l >= std::max<int64_t>(0, impl.config.layers - 2); --l) {
    if (impl.plan.layers[l].backward_weights) RETURN_IF_ERROR(units.Prefetch(LayerUnit(l)));
  }
  std::vector<GradTarget> tied_targets;
  {
    const StreamSpan span(impl.options.tracer, compute, "head");
    RETURN_IF_ERROR(m.Head(HeadMode::kTrain, residual, loss, {}, &tied_targets));
  }
  RETURN_IF_ERROR(units.Release(head, compute));
  return impl.Backward(m, tied_targets);
}

absl::Status Llama::ForwardLoss(const MicroBatch& batch, UnitSource& units, Stream& compute,
                                float* loss) {
  return impl_->ForwardOnly(impl_->Begin(batch, units, compute), HeadMode::kLoss, loss, {});
}

absl::Status Llama::ForwardLogits(const MicroBatch& batch, UnitSource& units, Stream& compute,
                                  TensorView logits) {
  return impl_->ForwardOnly(impl_->Begin(batch, units, compute), HeadMode::kLogits, nullptr,
                            logits);
}

}  // namespace blockstep
