// How long a step should take: what it computes and sends, by what this machine was measured to do.
#pragma once

#include "core/backends/backends.h"
#include "core/tensor/tensor_view.h"
#include "launcher/train/plan/memory_plan.h"
#include "model/llama.h"

namespace blockstep {

// Of all ranks of one machine together.
struct MachineRates {
  double gemm_flops = 0;       // FLOP/s of matrix products
  double attention_flops = 0;  // FLOP/s of attention, forward and backward
  double memory_bytes = 0;     // bytes/s that ops read and write which do little with them
  double link_bytes = 0;       // bytes/s that a rank sends; 0: other ranks are on this machine
};

// Runs kernels of the cpu backend for about half a second on `threads` threads, in the shapes of
// the model and of micro-steps of `shape`: the median of several times each.
absl::StatusOr<MachineRates> MeasureMachine(const LlamaConfig& model, BatchShape shape,
                                            int threads);

// One step of a phase on one of `local_ranks` that share the machine. A product takes the longer of
// its FLOPs and its bytes; what is sent inside a machine is copied at memory's rate, over a link it
// hides behind the computation as far as it goes.
double ExpectedSeconds(const PhasePlan& phase, const MachineRates& rates, int local_ranks);

}  // namespace blockstep
