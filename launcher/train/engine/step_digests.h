// Digests of everything that one rank computes in its steps, written to a file of its own
// (core/base/op_digests.h has the form). For `numerics: slot_exact`, where a micro-step is one
// slot; what `fast` groups by rank compares only between equal numbers of ranks. Slow: every weight
// is read again for every slot, and each step ends with a host wait.
#pragma once

#include <memory>
#include <string>

#include "core/device/backend.h"
#include "launcher/train/engine/step_notes.h"

namespace blockstep {

class StepDigests : public StepNotes {
 public:
  // On the engine thread, which is the only one to use it. FAILED_PRECONDITION: the host cannot
  // read what `base` computes; RESOURCE_EXHAUSTED: `path`, which is replaced, cannot be written.
  static absl::StatusOr<std::unique_ptr<StepDigests>> Create(const Backend& base,
                                                             const std::string& path, int rank);
  ~StepDigests() override;

  // What model, units and reducer compute with: the same arithmetic, noted.
  const Backend& backend() const;

  void BeginPass(int64_t step, const ActiveSet& set, const TensorTable& table) override;
  ModelPorts BeginSlots(int64_t position, int64_t slots, const ModelPorts& ports) override;
  void EndSlots() override;
  void Gradients(const GradReducer& reducer, Stream& compute) override;
  void Agreed(const ExchangeResult& agreed) override;
  void BeginUpdates(float grad_scale, double learning_rate) override;
  void Updated(int entry, const EntryState& state, const TensorView& param,
               Stream& compute) override;
  // Everything of the step is in the file.
  absl::Status EndStep(Stream& compute) override;

 private:
  struct Impl;
  explicit StepDigests(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace blockstep
