// A plan for people and for programs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/train/plan/step_time.h"

namespace blockstep {

// What `blockstep estimate` knows of a run.
struct RunPlan {
  std::string title;  // "badam on 60m, 58.07 M parameters, 2 ranks of 1 thread"
  std::vector<RankPlan> ranks;
  int64_t tokens_per_step = 0;
  int ranks_per_process = 1;  // threads as ranks share one
  int local_ranks = 1;        // that share a machine
  int64_t program_bytes = 0;  // a process without a model
  std::optional<MachineRates> rates;

  // The process of `ranks_per_process` ranks from rank 0 on, which holds most.
  int64_t ProcessBytes() const;
};

// Memory by class and rank in MiB, equal ranks in one column; a line per phase.
std::string PlanTable(const RunPlan& plan);
std::string PlanJson(const RunPlan& plan);

// "weights": the class with the most bytes of the worst phase.
std::string_view LargestClass(const RankPlan& plan);

std::string Mib(int64_t bytes);  // "74.6"

}  // namespace blockstep
