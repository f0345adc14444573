// Whole training steps of one rank: tokens per second, time by part, share of the speed of light.
//   step_bench [--preset 60m] [--policy full|badam|block=LAYER|block=mid] [--slots 8] [--tokens
//   256]
//              [--threads 2] [--steps 5] [--numerics fast|slot_exact] [--recompute none|layer]
//              [--loss_chunk N] [--json]
// Speed of light: FLOPs that ran / this machine's multiply-add peak, measured between the steps.
// Beside wall time stands the CPU time of the process, which says more on a shared machine.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "core/base/status.h"
#include "tests/bench/bench_run.h"
#include "tests/bench/peak.h"
#include "tests/bench/timed_kernels.h"

namespace blockstep {
namespace {

struct Options {
  BenchSpec spec;
  bool json = false;
};

struct StepTime {
  double wall = 0, cpu = 0;
  PartUses parts{};

  void Add(const StepTime& step, double share) {
    wall += share * step.wall;
    cpu += share * step.cpu;
    for (size_t i = 0; i < parts.size(); ++i) {
      parts[i].wall += share * step.parts[i].wall;
      parts[i].cpu += share * step.parts[i].cpu;
      parts[i].flops += share * step.parts[i].flops;
      parts[i].calls += step.parts[i].calls;
    }
  }
};

struct Outcome {
  std::vector<StepTime> steps;  // fastest first
  double peak = 0;              // FLOP/s
  double flops = 0;             // of a step
  int64_t parameters = 0, rss_bytes = 0, planned_bytes = 0;
  double cpu = 0;   // least CPU seconds of a step
  double loss = 0;  // of the last step, per token
};

double Flops(const PartUses& parts) {
  double sum = 0;
  for (const PartUse& p : parts) sum += p.flops;
  return sum;
}

// FLOP/s of all threads with a core each.
double BestPeak(ThreadPool& pool, int tries) {
  double best = 0;
  for (int i = 0; i < tries; ++i) {
    const double begin = CpuSeconds();
    const double flops = RunPeak(pool);
    best = std::max(best, flops / (CpuSeconds() - begin) * pool.threads());
  }
  return best;
}

absl::StatusOr<Options> Parse(int argc, char** argv) {
  Options o;
  std::map<std::string, std::string> given;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--json") {
      o.json = true;
    } else if (name.rfind("--", 0) == 0 && i + 1 < argc) {
      given[name.substr(2)] = argv[++i];
    } else {
      return InvalidArgument("argument '", name, "': wanted --name value, as in step_bench.cc");
    }
  }
  const auto text = [&](const char* name, std::string& value) {
    if (const auto it = given.find(name); it != given.end()) value = it->second, given.erase(it);
  };
  const auto number = [&](const char* name, auto& value) {
    std::string digits;
    text(name, digits);
    if (!digits.empty()) value = std::atoi(digits.c_str());
  };
  std::string numerics = "fast", recompute = "none";
  text("preset", o.spec.preset);
  text("policy", o.spec.policy);
  text("numerics", numerics);
  text("recompute", recompute);
  number("slots", o.spec.slots);
  number("tokens", o.spec.tokens);
  number("threads", o.spec.threads);
  number("steps", o.spec.steps);
  number("loss_chunk", o.spec.loss_chunk);
  if (!given.empty()) return InvalidArgument("unknown option --", given.begin()->first);
  if (numerics != "fast" && numerics != "slot_exact") {
    return InvalidArgument("--numerics ", numerics, ": expected fast or slot_exact");
  }
  if (recompute != "none" && recompute != "layer") {
    return InvalidArgument("--recompute ", recompute, ": expected none or layer");
  }
  if (o.spec.slots < 1 || o.spec.tokens < 1 || o.spec.threads < 1 || o.spec.steps < 1) {
    return InvalidArgument("--slots, --tokens, --threads and --steps: wanted at least 1");
  }
  if (numerics == "slot_exact") o.spec.numerics = Numerics::kSlotExact;
  if (recompute == "layer") o.spec.recompute = Recompute::kLayer;
  return o;
}

absl::StatusOr<Outcome> Measure(BenchSpec spec) {
  // badam's steps differ by block: whole cycles are timed, and a cycle's mean is its time.
  ASSIGN_OR_RETURN(const LlamaConfig config, LlamaPreset(spec.preset, 0));
  const int64_t cycle = spec.policy == "badam" ? config.layers + 2 : 1;
  const int64_t warm_up = std::max<int64_t>(2, cycle);
  const int64_t timed = (spec.steps + cycle - 1) / cycle * cycle;
  spec.steps = timed + warm_up;
  ASSIGN_OR_RETURN(auto run, BenchRun::Create(spec));
  Outcome out{.parameters = run->parameters()};
  out.peak = BestPeak(run->pool(), 20);
  for (int64_t step = 0; step < spec.steps; ++step) {
    StepTime time;
    RecordParts(&time.parts, run->config().vocab);
    const double wall = WallSeconds(), cpu = CpuSeconds();
    ASSIGN_OR_RETURN(const StepResult result, run->Step(step));
    time.wall = WallSeconds() - wall;
    time.cpu = CpuSeconds() - cpu;
    out.loss = result.report.loss_sum / static_cast<double>(result.report.tokens);
    if (step >= warm_up) {
      if ((step - warm_up) % cycle == 0) out.steps.push_back({});
      out.steps.back().Add(time, 1.0 / static_cast<double>(cycle));
    }
    out.peak = std::max(out.peak, BestPeak(run->pool(), 5));
  }
  RecordParts(nullptr, 0);
  CHECK_EQ(static_cast<int64_t>(out.steps.size()), timed / cycle);
  std::sort(out.steps.begin(), out.steps.end(),
            [](const StepTime& a, const StepTime& b) { return a.wall < b.wall; });
  out.cpu = out.steps[0].cpu;
  for (const StepTime& s : out.steps) out.cpu = std::min(out.cpu, s.cpu);
  for (const StepTime& s : out.steps) {
    out.flops += Flops(s.parts) / static_cast<double>(out.steps.size());
  }
  out.planned_bytes = run->memory().total_peak;
  rusage use;
  getrusage(RUSAGE_SELF, &use);
  out.rss_bytes = use.ru_maxrss * 1024;
  return out;
}

void PrintTable(const Options& o, const Outcome& r) {
  const double tokens = static_cast<double>(o.spec.slots * o.spec.tokens);
  const StepTime &best = r.steps.front(), &median = r.steps[r.steps.size() / 2];
  std::printf("%s (%.2f M parameters), %s, %lld x %lld tokens, %d threads\n", o.spec.preset.c_str(),
              r.parameters * 1e-6, o.spec.policy.c_str(), static_cast<long long>(o.spec.slots),
              static_cast<long long>(o.spec.tokens), o.spec.threads);
  std::printf("  tok/s            best %8.0f   median %8.0f   by CPU time %8.0f\n",
              tokens / best.wall, tokens / median.wall, tokens * o.spec.threads / r.cpu);
  std::printf("  step             best %8.1f ms median %8.1f ms, %.1f GFLOP\n", best.wall * 1e3,
              median.wall * 1e3, r.flops * 1e-9);
  const double light = 100 * r.flops / r.peak;
  std::printf(
      "  peak             %.1f GF/s; speed of light best %.1f %%, median %.1f %%, by CPU time %.1f "
      "%%\n",
      r.peak * 1e-9, light / best.wall, light / median.wall, light / r.cpu * o.spec.threads);
  std::printf("  peak RSS         %.0f MiB, planned %.0f MiB\n", r.rss_bytes / 1048576.0,
              r.planned_bytes / 1048576.0);
  std::printf("  loss             %.4f\n", r.loss);
  std::printf("  by part, best step     wall ms  share    CPU ms\n");
  double wall = 0, cpu = 0;
  for (size_t i = 0; i < best.parts.size(); ++i) {
    const PartUse& p = best.parts[i];
    wall += p.wall;
    cpu += p.cpu;
    if (p.calls == 0) continue;
    std::printf("    %-18s %9.1f %5.1f %% %9.1f  %5lld calls",
                PartName(static_cast<Part>(i)).data(), p.wall * 1e3, 100 * p.wall / best.wall,
                p.cpu * 1e3, static_cast<long long>(p.calls));
    if (p.flops > 0) {
      std::printf("  %5.1f %% of peak by CPU time",
                  100 * p.flops / r.peak / p.cpu * o.spec.threads);
    }
    std::printf("\n");
  }
  std::printf("    %-18s %9.1f %5.1f %% %9.1f\n", "rest", (best.wall - wall) * 1e3,
              100 * (1 - wall / best.wall), (best.cpu - cpu) * 1e3);
}

void PrintJson(const Options& o, const Outcome& r) {
  const double tokens = static_cast<double>(o.spec.slots * o.spec.tokens);
  const StepTime &best = r.steps.front(), &median = r.steps[r.steps.size() / 2];
  std::printf(
      R"({"program":"blockstep","preset":"%s","policy":"%s","best_tok_s":%.1f,"median_tok_s":%.1f,)"
      R"("cpu_tok_s":%.1f,"rss_mib":%.0f,"planned_mib":%.0f,"gflop_per_token":%.6f,"peak_gflops":%.1f,)"
      R"("speed_of_light":%.4f,"cpu_speed_of_light":%.4f,"loss":%.4f,"parts_ms":{)",
      o.spec.preset.c_str(), o.spec.policy.c_str(), tokens / best.wall, tokens / median.wall,
      tokens * o.spec.threads / r.cpu, r.rss_bytes / 1048576.0, r.planned_bytes / 1048576.0,
      r.flops / tokens * 1e-9, r.peak * 1e-9, r.flops / r.peak / median.wall,
      r.flops / r.peak / r.cpu * o.spec.threads, r.loss);
  const char* separator = "";
  for (size_t i = 0; i < best.parts.size(); ++i) {
    std::printf(R"(%s"%s":%.2f)", separator, PartName(static_cast<Part>(i)).data(),
                best.parts[i].wall * 1e3);
    separator = ",";
  }
  std::printf("}}\n");
}

}  // namespace
}  // namespace blockstep

int main(int argc, char** argv) {
  using namespace blockstep;
  const auto options = Parse(argc, argv);
  if (!options.ok()) {
    std::fprintf(stderr, "%s\n", std::string(options.status().message()).c_str());
    return 2;
  }
  const auto outcome = Measure(options->spec);
  if (!outcome.ok()) {
    std::fprintf(stderr, "%s\n", std::string(outcome.status().message()).c_str());
    return 1;
  }
  options->json ? PrintJson(*options, *outcome) : PrintTable(*options, *outcome);
}
