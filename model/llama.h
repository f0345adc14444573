// Llama's forward pass, chunked loss and truncated backward over kernels of one backend. What runs,
// is saved and is differentiated is decided by SavePlan alone (model/save_plan.h).
#pragma once

#include <memory>

#include "core/base/trace.h"
#include "core/device/arena.h"
#include "core/ops/kernel_table.h"
#include "core/step/grad_sink.h"
#include "core/step/unit_source.h"
#include "model/llama_config.h"
#include "model/save_plan.h"

namespace blockstep {

// One micro-step's slots on one rank. `slots` may be 0: units are still acquired and sinks still
// called in the same order, so that collectives match.
struct MicroBatch {
  int64_t slots = 0;                   // B' <= BatchShape::slots
  const int32_t* inputs = nullptr;     // (B'*T)
  const int32_t* targets = nullptr;    // (B'*T), < 0: not counted
  const int32_t* first_key = nullptr;  // (B'*T) or null: one document per slot
};

struct BatchShape {
  int64_t slots = 0;   // B, the most a micro-step has
  int64_t tokens = 0;  // T
};

struct LlamaOptions {
  const Backend* backend = nullptr;
  Recompute recompute = Recompute::kNone;
  int64_t loss_chunk = 256;  // tokens of the LM head and loss at once; (B,T,V) never exists
  Tracer* tracer = nullptr;
};

class Llama {
 public:
  static absl::StatusOr<std::unique_ptr<Llama>> Create(const LlamaConfig& config,
                                                       LlamaOptions options);
  ~Llama();
  const TensorTable& table() const;
  const LlamaConfig& config() const;

  // Buffers that live for the run: RoPE tables, gather-independent workspace. Once, before
  // BeginPhase.
  absl::Status Reserve(BatchShape shape, Stream& compute, Arena& arena);
  // Activations for `set` after the caller's mark; all streams are fenced.
  absl::Status BeginPhase(const ActiveSet& set, Arena& arena);
  const SavePlan& plan() const;

  // Forward, loss and backward of one micro-step. loss (B'*T) fp32 in device memory, =. Gradients
  // are those of (sum of token losses) * grad_scale, handed to `sink` from the head down to the
  // cut.
  absl::Status ForwardBackward(const MicroBatch& batch, float grad_scale, UnitSource& units,
                               GradSink& sink, Stream& compute, float* loss);
  // Losses only; nothing is kept.
  absl::Status ForwardLoss(const MicroBatch& batch, UnitSource& units, Stream& compute,
                           float* loss);
  // Logits of every token of the batch: (B'*T, V) fp32, for tests and generation.
  absl::Status ForwardLogits(const MicroBatch& batch, UnitSource& units, Stream& compute,
                             TensorView logits);

 private:
  struct Impl;
  explicit Llama(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace blockstep
