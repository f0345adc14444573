// The real trainer on N ranks as threads: bundled text, a tiny Llama, a policy in process.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <thread>

#include "core/backends/backends.h"
#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "launcher/train/plan/memory_plan.h"
#include "launcher/train/trainer.h"
#include "tests/e2e/policy_source.h"

namespace blockstep::testing {

// Fields that every run of this file has; `more` has the rest, as a configuration's text.
inline TrainConfig SmallConfig(const std::string& more) {
  const std::string source = BLOCKSTEP_SOURCE_DIR;
  const auto config = ParseTrainConfig(
      "model { config: \"" + source + "/tests/e2e/tiny_model.json\" }\n" + "data { train: \"" +
          source + "/deploy/data/c4_tiny/train.bin\" tokens: 16 }\n" +
          "batch { slots: 4 }\noptimizer { lr: 0.01 }\n" + more,
      "test");
  CHECK_OK(config);
  return *config;
}

// What rank 0 was told of saves.
struct TrainerRun {
  std::vector<absl::Status> statuses;  // per rank
  std::vector<SaveReport> saves;
  std::vector<int64_t> steps_at_save;  // done when each of them was told
  std::vector<int64_t> phases;         // per step
  TrainOutcome outcome;
};

// Keeps what rank 0 was told.
class RecordingObserver : public RunObserver {
 public:
  explicit RecordingObserver(TrainerRun* out) : out_(out) {}
  absl::Status OnStep(const StepResult& result, double) override {
    out_->phases.push_back(result.phase);
    return absl::OkStatus();
  }
  absl::Status OnSave(const SaveReport& report) override {
    out_->saves.push_back(report);
    out_->steps_at_save.push_back(static_cast<int64_t>(out_->phases.size()));
    return absl::OkStatus();
  }

 private:
  TrainerRun* out_;
};

// People's orders, as a test scripts them.
struct ScriptedControl : public RunControl {
  bool StopRequested() override { return stop && stop(); }
  int64_t SavesOrdered() override { return saves ? saves() : 0; }
  std::function<bool()> stop;
  std::function<int64_t()> saves;
};

// `hook` is called by every rank's saves, on any thread. `resume_from` is a checkpoint; the policy
// starts anew all the same, which is right for those that no report changes. `stop` is asked by
// every rank at each step's end; `change` is called once by every rank's thread, with options and
// control that are otherwise complete.
inline TrainerRun RunTrainer(
    const TrainConfig& config, const std::string& folder, int ranks, FileHook hook = nullptr,
    const std::string& resume_from = "", std::function<bool(int64_t step)> stop = nullptr,
    const std::function<void(int rank, TrainerOptions& options, ScriptedControl& control)>& change =
        nullptr) {
  const RunFolder run{.path = folder, .run_id = std::string(32, '7'), .resume_from = resume_from};
  std::filesystem::create_directories(folder);
  const LlamaConfig model = ModelOf(config).value();
  const TensorTable table = LlamaTensors(model);
  SharedPolicy policy(MakePolicy(ResolvePolicy(config, table).value(), table).value());
  const Backend* backend =
      FindBackend(config.runtime.backend == BackendKind::kGuarded ? "guarded" : "cpu").value();
  const auto groups = LocalGroup::CreatePairs(ranks);
  TrainerRun out;
  out.statuses.resize(ranks);
  const auto run_rank = [&](int rank) -> absl::Status {
    ThreadPool pool(1);
    ASSIGN_OR_RETURN(const RankPlan plan, PlanRank(config, model, {.ranks = ranks}, rank));
    ASSIGN_OR_RETURN(auto session, Session::Create(config, model,
                                                   {.backend = backend,
                                                    .group = groups[rank].group(),
                                                    .pool = &pool,
                                                    .arena_bytes = plan.arena}));
    PolicySource source(&policy);
    WatchedProgress watched;
    RecordingObserver recorder(&out);
    ScriptedControl control;
    control.stop = [&] { return stop && stop(watched.step); };
    TrainerOptions options{.session = session.get(),
                           .source = &source,
                           .observer = rank == 0 ? &recorder : nullptr,
                           .control = &control,
                           .run = &run,
                           .watched = &watched,
                           .save_hook = hook};
    if (change) change(rank, options, control);
    ASSIGN_OR_RETURN(auto trainer, Trainer::Create(std::move(options)));
    RETURN_IF_ERROR(trainer->Start());
    ASSIGN_OR_RETURN(const TrainOutcome outcome, trainer->Run());
    if (rank == 0) out.outcome = outcome;
    return absl::OkStatus();
  };
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] { out.statuses[r] = run_rank(r); });
  }
  for (std::thread& t : threads) t.join();
  return out;
}

}  // namespace blockstep::testing
