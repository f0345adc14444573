// Output of a run: progress on stderr, metrics.jsonl and TensorBoard in the run folder. On rank 0
// only.
#pragma once

#include <memory>

#include "launcher/checkpoint/run_folder.h"
#include "launcher/config/train_config.h"
#include "launcher/train/run_observer.h"

namespace blockstep {

class Console : public RunObserver {
 public:
  // Opens the writers at `next_step`.
  static absl::StatusOr<std::unique_ptr<Console>> Open(const TrainConfig& config,
                                                       const RunFolder& run, int64_t next_step,
                                                       int64_t ranks);
  ~Console() override;
  absl::Status OnStep(const StepResult& step, double seconds) override;
  absl::Status OnEval(int64_t step, const EvalResult& eval) override;
  absl::Status OnSave(const SaveReport& save) override;
  void OnNote(const std::string& text) override;
  // SHA-256 of the sequence of active sets seen by OnStep, and the number of distinct sets that
  // were trained: "5f3a..., 7 active sets". Call once, at the end.
  std::string BlocksHash();

 private:
  struct Impl;
  explicit Console(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace blockstep
