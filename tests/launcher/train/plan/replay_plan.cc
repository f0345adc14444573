// For plan_equals_reality.py: the plan of the very selections that a run made, as JSON. They follow
// from the reports in its coordinator's log, policies being pure.
//
//   replay_plan coordinator.log RANKS THREADS FIELD=VALUE...
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "launcher/config/step_proto.h"
#include "launcher/coordinator/log_records.h"
#include "launcher/train/plan/plan_text.h"
#include "launcher/train/session.h"
#include "model/llama_tensors.h"

namespace blockstep {
namespace {

// Everything the policy decided for the run's steps.
std::vector<Directive> Decided(const TrainConfig& config, const TensorTable& table,
                               const LogContents& log) {
  auto policy = MakePolicy(ResolvePolicy(config, table).value(), table).value();
  std::vector<Directive> decided = policy->Start();
  for (const proto::StepReport& report : log.reports) {
    for (Directive& d : policy->OnReport(FromProto(report).value())) {
      decided.push_back(std::move(d));
    }
  }
  return decided;
}

// Each set that was in hand, probes included, once, as a step of its own.
std::vector<Directive> SetsOf(const std::vector<Directive>& decided, const TrainConfig& config,
                              const TensorTable& table) {
  std::vector<Directive> steps;
  std::set<std::string> seen;
  const auto add = [&](const Directive& d, const ActiveSet& set) {
    if (!seen.insert(set.Text()).second) return;
    const auto at = static_cast<int64_t>(steps.size());
    steps.push_back({.kind = d.kind,
                     .from = at,
                     .through = at,
                     .phase = at,
                     .sets = {set},
                     .label = Cat(d.label, " at step ", d.from)});
  };
  for (const Directive& d : decided) {
    for (int64_t step = d.from; step <= std::min(d.through, config.train.steps - 1); ++step) {
      if (d.kind == DirectiveKind::kSweep) {
        for (const ActiveSet& set : d.sets) add(d, set);
      } else {
        add(d, ActiveSetFor(d, 0, step, config.train.seed, table));
      }
    }
  }
  return steps;
}

int Main(const std::string& path, int ranks, int threads, const std::vector<std::string>& sets) {
  const TrainConfig config = LoadTrainConfig("", sets).value();
  const LlamaConfig model = ModelOf(config).value();
  const TensorTable table = LlamaTensors(model);
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  LogContents log;
  CHECK_OK(ReadLog(bytes, path, &log).status());
  CHECK_EQ(static_cast<int64_t>(log.reports.size()), config.train.steps);
  const std::vector<Directive> phases = SetsOf(Decided(config, table, log), config, table);
  RunPlan plan{.title = Cat(log.reports.size(), " reports")};
  for (int r = 0; r < ranks; ++r) {
    plan.ranks.push_back(
        PlanRank(config, model, {.ranks = ranks, .threads = threads}, r, phases).value());
  }
  std::printf("%s", PlanJson(plan).c_str());
  return 0;
}

}  // namespace
}  // namespace blockstep

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: replay_plan coordinator.log RANKS THREADS FIELD=VALUE...\n");
    return 2;
  }
  return blockstep::Main(argv[1], std::atoi(argv[2]), std::atoi(argv[3]), {argv + 4, argv + argc});
}
