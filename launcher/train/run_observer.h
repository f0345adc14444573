// What the training loop says of itself, and what it asks for: two interfaces, so that the loop
// knows neither consoles nor coordinators. Tests, verify and benchmarks implement what they need.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/data/batch_reader.h"
#include "launcher/checkpoint/trainer_state.h"
#include "launcher/train/engine/evaluator.h"
#include "launcher/train/engine/step_engine.h"
#include "launcher/train/saver.h"

namespace blockstep {

// Called on every rank, by the training thread; the observer decides which rank prints. An error
// ends the run.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  // After each step; `seconds` is its wall time, training's own waits included.
  virtual absl::Status OnStep(const StepResult& /*step*/, double /*seconds*/) {
    return absl::OkStatus();
  }
  virtual absl::Status OnEval(int64_t /*step*/, const EvalResult& /*eval*/) {
    return absl::OkStatus();
  }
  // A save that ended, well or not.
  virtual absl::Status OnSave(const SaveReport& /*save*/) { return absl::OkStatus(); }
  // Something that people should know.
  virtual void OnNote(const std::string& /*text*/) {}
  // The slots that this rank has read for a step, before it computes them.
  virtual void OnSlots(int64_t /*step*/, std::span<const SlotRecord> /*slots*/) {}
};

// Asked by the training thread.
class RunControl {
 public:
  virtual ~RunControl() = default;
  // Every rank, once a step: this rank was asked to save and stop.
  virtual bool StopRequested() { return false; }
  // Every rank, once a step: how many times people asked for a checkpoint, as this rank has heard.
  // When it grows on any rank, all of them save at the end of the same step.
  virtual int64_t SavesOrdered() { return 0; }
  // Rank 0, at a save, between steps: the policy's state once every report below `step` has been
  // taken, and the directives that go beyond it.
  virtual absl::Status PolicyState(int64_t /*step*/, TrainerState& /*state*/) {
    return absl::OkStatus();
  }
};

}  // namespace blockstep
