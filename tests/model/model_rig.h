// A Llama with weights and a batch in one process, on any backend; used by all tests of this
// folder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/backends/backends.h"
#include "core/data/safetensors.h"
#include "core/tensor/device_access.h"
#include "model/init.h"
#include "model/llama.h"
#include "tests/model/simple_units.h"

namespace blockstep::testing {

struct RigOptions {
  std::string backend = "cpu";
  const KernelTable* kernels = nullptr;  // instead of the backend's
  Recompute recompute = Recompute::kNone;
  BatchShape shape = {.slots = 2, .tokens = 40};
  int64_t loss_chunk = 16;
  int threads = 1;
};

struct Gradients {
  std::vector<float> loss;             // (n)
  std::vector<std::vector<float>> dw;  // per entry
};

class ModelRig {
 public:
  ModelRig(const LlamaConfig& config, const RigOptions& options);

  void FillRandom(uint64_t seed);  // weights; norms around one
  void LoadWeights(const std::string& folder);
  void RandomBatch(uint64_t seed);  // about one target in eight is not counted
  void SetBatch(const std::vector<int32_t>& inputs, const std::vector<int32_t>& targets);
  void SetDocuments(const std::vector<int32_t>& first_key);

  // BeginPhase and one micro-step of `slots` slots (-1: all) with this set. Buffers of the phase
  // before are given back; `use` then holds what the phase carved.
  Gradients Run(const ActiveSet& set, float grad_scale = 1.0f, int64_t slots = -1);
  std::vector<float> Loss();
  std::vector<float> Logits();  // (n, V)

  const TensorTable& table() const { return llama->table(); }
  int64_t n() const { return options.shape.slots * options.shape.tokens; }

  RigOptions options;
  Backend backend;
  ThreadPool pool;
  Arena arena;
  std::unique_ptr<Stream> compute;
  std::unique_ptr<Llama> llama;
  std::unique_ptr<SimpleUnits> units;
  std::vector<int> done_order;           // of the last Run
  MemoryUse use;                         // of the last Run, run-lived blocks included
  MicroBatch batch;                      // on the device
  std::vector<int32_t> inputs, targets;  // the same, here

 private:
  DeviceAccess access() const { return {.backend = &backend, .stream = compute.get()}; }
  void PoisonFreeMemory();
  std::vector<float> Read(const TensorView& view);
  void Write(const std::vector<int32_t>& values, const int32_t* device);
  float* loss_ = nullptr;
  Arena::Mark mark_;
};

ActiveSet Everything(const TensorTable& table);
ActiveSet Only(const TensorTable& table, int tensor);

// GQA, three layers, matrices of more than one row tile of 64, none a multiple of it.
LlamaConfig TinyConfig(int64_t layers = 3);
LlamaConfig TinyTiedConfig();

}  // namespace blockstep::testing
