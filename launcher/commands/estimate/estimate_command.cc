#include <cstdio>

#include "core/base/status.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/flags.h"
#include "launcher/commands/command.h"
#include "launcher/commands/estimate/empty_run.h"
#include "launcher/config/train_config.h"
#include "launcher/machine/process_memory.h"
#include "launcher/machine/threads.h"
#include "launcher/train/plan/plan_text.h"
#include "model/llama_tensors.h"

namespace blockstep {
namespace {

struct EstimateFlags {
  std::string config;
  std::vector<std::string> sets;
  int ranks = 0, local_ranks = 0;
  double gemm_gflops = 0, attention_gflops = 0, memory_gbs = 0, link_gbs = 0;
  bool json = false, quick = false;
};

absl::StatusOr<RunPlan> Estimate(const TrainConfig& config, const EstimateFlags& flags) {
  ASSIGN_OR_RETURN(const LlamaConfig model, ModelOf(config));
  const bool threads_as_ranks = config.runtime.transport == TransportKind::kLocal;
  RunPlan plan;
  const int ranks = flags.ranks > 0 ? flags.ranks : static_cast<int>(config.runtime.local_ranks);
  plan.local_ranks = flags.local_ranks > 0 ? std::min(flags.local_ranks, ranks) : ranks;
  plan.ranks_per_process = threads_as_ranks ? ranks : 1;
  plan.tokens_per_step = config.batch.slots * config.data.tokens;
  const int threads = config.runtime.threads > 0 ? static_cast<int>(config.runtime.threads)
                                                 : ThreadsPerRankHere(plan.local_ranks);
  plan.program_bytes = ResidentBytes();  // before anything is planned
  if (!flags.quick) {
    ASSIGN_OR_RETURN(plan.program_bytes, EmptyRunPeak(plan.ranks_per_process, threads));
  }
  ASSIGN_OR_RETURN(const int group_size, GroupSizeOf(config, ranks, plan.local_ranks));
  const TensorTable table = LlamaTensors(model);
  char parameters[32];
  std::snprintf(parameters, sizeof parameters, "%.2f M",
                static_cast<double>(table.parameters()) * 1e-6);
  plan.title =
      Cat(config.policy.name, ", ", parameters, " parameters, ", ranks,
          ranks == 1 ? " rank of " : " ranks of ", threads, threads == 1 ? " thread" : " threads");
  for (int r = 0; r < ranks; ++r) {
    ASSIGN_OR_RETURN(
        RankPlan rank,
        PlanRank(config, model, {.ranks = ranks, .threads = threads, .group_size = group_size}, r));
    plan.ranks.push_back(std::move(rank));
  }
  if (flags.quick) return plan;
  MachineRates rates{.gemm_flops = flags.gemm_gflops * 1e9,
                     .attention_flops = flags.attention_gflops * 1e9,
                     .memory_bytes = flags.memory_gbs * 1e9,
                     .link_bytes = flags.link_gbs * 1e9};
  if (rates.gemm_flops == 0 || rates.attention_flops == 0 || rates.memory_bytes == 0) {
    ASSIGN_OR_RETURN(
        const MachineRates here,
        MeasureMachine(model, {.slots = config.batch.micro_slots, .tokens = config.data.tokens},
                       std::min(UsableCpus(), threads * plan.local_ranks)));
    if (rates.gemm_flops == 0) rates.gemm_flops = here.gemm_flops;
    if (rates.attention_flops == 0) {
      rates.attention_flops =
          here.attention_flops / here.gemm_flops * rates.gemm_flops;  // as here, relative to GEMM
    }
    if (rates.memory_bytes == 0) rates.memory_bytes = here.memory_bytes;
  }
  plan.rates = rates;
  return plan;
}

}  // namespace

int EstimateCommand(int argc, char** argv) {
  EstimateFlags flags;
  CLI::App app{
      "Estimate what a run needs: memory by class and rank, bytes sent, FLOPs and time per step. "
      "The real engine runs on a backend without memory, once per worst-case phase of the policy."};
  app.name("blockstep estimate");
  app.add_option("--config", flags.config, "configuration file; without it, the defaults");
  AddSets(app, flags.sets);
  app.add_option("--ranks", flags.ranks, "number of ranks; default: runtime.local_ranks")
      ->check(AboveZero());
  app.add_option("--ranks-per-machine", flags.local_ranks,
                 "ranks that share a machine; default: all of them")
      ->check(AboveZero());
  app.add_option("--gemm-gflops", flags.gemm_gflops,
                 "GEMM rate of a machine, instead of measuring this one")
      ->check(AboveZero());
  app.add_option("--attention-gflops", flags.attention_gflops, "attention rate of that machine")
      ->check(AboveZero());
  app.add_option("--memory-gbs", flags.memory_gbs, "memory bandwidth of that machine, GB/s")
      ->check(AboveZero());
  app.add_option(
         "--link-gbs", flags.link_gbs,
         "network bandwidth per rank to other machines, GB/s; default: all ranks on one machine")
      ->check(AboveZero());
  app.add_flag("--quick", flags.quick,
               "measure nothing: no step time, and the program's own memory as it is now");
  app.add_flag("--json", flags.json, "print JSON");
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  const absl::StatusOr<TrainConfig> config = LoadTrainConfig(flags.config, flags.sets);
  if (!config.ok()) {
    std::fprintf(stderr, "blockstep estimate: %s\n",
                 std::string(Std(config.status().message())).c_str());
    return kExitUsage;
  }
  const absl::StatusOr<RunPlan> plan = Estimate(*config, flags);
  if (!plan.ok()) {
    std::fprintf(stderr, "blockstep estimate: %s\n",
                 std::string(Std(plan.status().message())).c_str());
    return ExitCodeOf(plan.status());
  }
  std::printf("%s", (flags.json ? PlanJson(*plan) : PlanTable(*plan)).c_str());
  return kExitOk;
}

}  // namespace blockstep
