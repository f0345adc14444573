// Mean loss over a validation file, forward only; the same number for every number of ranks.
#pragma once

#include "dist/unit_store.h"
#include "launcher/train/engine/step_buffers.h"
#include "model/llama.h"

namespace blockstep {

struct EvalResult {
  double loss_sum = 0;  // nats over all counted tokens
  int64_t tokens = 0;
  double Loss() const { return tokens > 0 ? loss_sum / static_cast<double>(tokens) : 0.0; }
  double Perplexity() const;
};

class Evaluator {
 public:
  // Buffers for micro-steps of `micro_slots` slots; `read_slots` reads the validation order.
  static absl::StatusOr<Evaluator> Create(const Backend& backend, int64_t micro_slots,
                                          int64_t tokens, DocumentMask mask, ReadSlots read_slots,
                                          Arena& arena);

  // Slots [0, slots) of the order, dealt contiguously to the ranks. Collective.
  absl::StatusOr<EvalResult> Run(int64_t slots, Llama& model, UnitStore& units,
                                 Communicator& control, Stream& compute);

 private:
  int64_t micro_slots_ = 1;
  ReadSlots read_slots_;
  StepBuffers buffers_;
};

}  // namespace blockstep
