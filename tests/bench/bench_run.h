// One rank, one process: the real StepEngine on a preset with random tokens, ready to be stepped.
#pragma once

#include <memory>
#include <string>

#include "launcher/train/engine/step_engine.h"

namespace blockstep {

struct BenchSpec {
  std::string preset = "60m";
  std::string policy = "full";  // full | badam | block=LAYER | block=mid
  int64_t slots = 8, tokens = 256;
  int64_t loss_chunk = 0;  // 0: the model's own
  int threads = 2;
  int64_t steps = 5;
  Numerics numerics = Numerics::kFast;  // fast: one micro-step of all slots; slot_exact: one each
  Recompute recompute = Recompute::kNone;
};

class BenchRun {
 public:
  static absl::StatusOr<std::unique_ptr<BenchRun>> Create(const BenchSpec& spec);
  ~BenchRun();

  absl::StatusOr<StepResult> Step(int64_t step);
  ThreadPool& pool();
  const LlamaConfig& config() const;
  int64_t parameters() const;
  const MemoryUse& memory() const;

 private:
  struct Impl;
  explicit BenchRun(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace blockstep
