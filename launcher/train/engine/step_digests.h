// Digests of everything that one rank computes in its steps, written to a file of its own
// (core/base/op_digests.h has the form). For `numerics: slot_exact`, where a micro-step is one
// slot; what `fast` groups by rank compares only between equal numbers of ranks. Slow: every weight
// is read again for every slot, and each step ends with a host wait.
#pragma once

#include <memory>
#include <string>

#include "core/device/backend.h"
#include "core/ops/digest_kernels.h"
#include "core/step/unit_source.h"
#include "core/step/update_rule.h"
#include "dist/grad_reducer.h"
#include "launcher/train/engine/entry_states.h"
#include "launcher/train/engine/step_exchange.h"

namespace blockstep {

class StepDigests {
 public:
  // On the engine thread, which is the only one to use it. FAILED_PRECONDITION: the host cannot
  // read what `base` computes.
  static absl::StatusOr<std::unique_ptr<StepDigests>> Create(const Backend& base,
                                                             const std::string& path, int rank);
  ~StepDigests();

  // What model, units and reducer compute with: the same arithmetic, noted.
  const Backend& backend() const;

  // One pass over a step's slots, and what learns in it.
  void BeginPass(int64_t step, const ActiveSet& set, const TensorTable& table);
  // Until EndSlot, ops belong to the slot at `position` of the data order; weights come from
  // units() and gradients go to sink(), which pass everything on to these.
  void BeginSlot(int64_t position, UnitSource& units, GradSink& sink);
  void EndSlot();
  UnitSource& units();
  GradSink& sink();

  // Once `reducer` has finished and its stream was waited for.
  void Gradients(const GradReducer& reducer, Stream& compute);
  void Agreed(const ExchangeResult& agreed);
  void BeginUpdates(float grad_scale, double learning_rate);
  // After the update of the rows of `state` that this rank has, ordered on `compute`.
  void Updated(int entry, const EntryState& state, const TensorView& param, Stream& compute);
  // Everything of the step is in the file.
  absl::Status EndStep(Stream& compute);

 private:
  struct Impl;
  explicit StepDigests(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace blockstep
