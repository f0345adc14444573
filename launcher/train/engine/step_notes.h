// Who is told what a step computes, while it does. The engine tells whether or not anybody listens;
// this one does not (StepDigests does).
#pragma once

#include "core/step/grad_sink.h"
#include "core/step/unit_source.h"
#include "dist/grad_reducer.h"
#include "launcher/train/engine/entry_states.h"
#include "launcher/train/engine/step_exchange.h"

namespace blockstep {

// Where the model gets weights and brings gradients.
struct ModelPorts {
  UnitSource* units = nullptr;
  GradSink* sink = nullptr;
};

class StepNotes {
 public:
  virtual ~StepNotes() = default;

  // One pass over a step's slots, and what learns in it.
  virtual void BeginPass(int64_t /*step*/, const ActiveSet&, const TensorTable&) {}
  // Until EndSlots, ops belong to the `slots` slots from `position` of the data order on; the ports
  // to use, which pass everything on to those given. No slots: an empty micro-step.
  virtual ModelPorts BeginSlots(int64_t /*position*/, int64_t /*slots*/, const ModelPorts& ports) {
    return ports;
  }
  virtual void EndSlots() {}

  // Once the reducer has finished and its stream was waited for.
  virtual void Gradients(const GradReducer&, Stream& /*compute*/) {}
  virtual void Agreed(const ExchangeResult&) {}
  // `grad_scale`: where the update will read it.
  virtual void BeginUpdates(float /*grad_scale*/, double /*learning_rate*/) {}
  // After the update of the rows of the state that this rank has, ordered on `compute`.
  virtual void Updated(int /*entry*/, const EntryState&, const TensorView& /*param*/,
                       Stream& /*compute*/) {}
  // The step has ended: nothing of it is left to be noted.
  virtual absl::Status EndStep(Stream& /*compute*/) { return absl::OkStatus(); }
};

}  // namespace blockstep
