#include "launcher/train/plan/plan_text.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/base/str.h"

namespace blockstep {
namespace {

template <typename... Args>
std::string Format(const char* format, Args... args) {
  char text[256];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}

constexpr size_t kClasses = static_cast<size_t>(MemoryClass::kCount);
std::string_view ClassName(size_t c) { return MemoryClassName(static_cast<MemoryClass>(c)); }

// Ranks that need the same.
struct Column {
  int first = 0, last = 0;
  const RankPlan* plan = nullptr;
  std::string name() const {
    return first == last ? Cat("rank ", first) : Cat("ranks ", first, "-", last);
  }
};

std::vector<Column> Columns(const RunPlan& plan) {
  std::vector<Column> columns;
  for (const RankPlan& rank : plan.ranks) {
    const RankPlan* last = columns.empty() ? nullptr : columns.back().plan;
    if (last != nullptr && last->phases[last->worst].bytes == rank.phases[rank.worst].bytes) {
      columns.back().last = rank.rank;
    } else {
      columns.push_back({rank.rank, rank.rank, &rank});
    }
  }
  return columns;
}

double Expected(const RunPlan& plan, const PhasePlan& phase) {
  return ExpectedSeconds(phase, *plan.rates, plan.local_ranks);
}

std::string MemoryRows(const RunPlan& plan) {
  const std::vector<Column> columns = Columns(plan);
  std::string text = Format("%-20s", "MiB");
  for (const Column& c : columns) text += Format(" %13s", c.name().c_str());
  text += "\n";
  const auto row = [&](std::string_view name, const auto& bytes_of) {
    text += Format("  %-18s", std::string(name).c_str());
    for (const Column& c : columns) text += Format(" %13s", Mib(bytes_of(*c.plan)).c_str());
    text += "\n";
  };
  for (size_t k = 0; k < kClasses; ++k) {
    const auto of = [k](const RankPlan& p) { return p.phases[p.worst].bytes[k]; };
    if (std::any_of(columns.begin(), columns.end(),
                    [&](const Column& c) { return of(*c.plan) > 0; }))
      row(ClassName(k), of);
  }
  row("planned", [](const RankPlan& p) { return p.total(); });
  return text;
}

}  // namespace

int64_t RunPlan::ProcessBytes() const {
  int64_t bytes = program_bytes;
  for (int r = 0; r < ranks_per_process; ++r) bytes += ranks[r].total();
  return bytes;
}

std::string Mib(int64_t bytes) { return Format("%.1f", static_cast<double>(bytes) / 1048576.0); }

std::string_view LargestClass(const RankPlan& plan) {
  const ClassBytes& bytes = plan.phases[plan.worst].bytes;
  return ClassName(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
}

std::string PlanTable(const RunPlan& plan) {
  const RankPlan& first = plan.ranks[0];
  std::string text = Cat(plan.title, "\n", MemoryRows(plan));
  text += Cat("process: ", Mib(plan.ProcessBytes()), " MiB (", plan.ranks_per_process,
              plan.ranks_per_process == 1 ? " rank + " : " ranks + ", Mib(plan.program_bytes),
              " MiB of the program itself); worst phase '", first.phases[first.worst].label,
              "', mostly ", LargestClass(first), "\n");
  text += Format("%-44s %10s %12s %10s", "phase, rank 0", "MiB", "MiB sent", "GFLOP");
  text += plan.rates ? Format(" %10s %10s\n", "step ms", "tokens/s") : "\n";
  for (const PhasePlan& phase : first.phases) {
    text +=
        Format("  %-42.42s %10s %12s %10.2f", phase.label.c_str(), Mib(Sum(phase.bytes)).c_str(),
               Mib(phase.sent.total()).c_str(), static_cast<double>(phase.ops.flops) * 1e-9);
    if (plan.rates) {
      const double seconds = Expected(plan, phase);
      text += Format(" %10.1f %10.0f", seconds * 1e3,
                     static_cast<double>(plan.tokens_per_step) / seconds);
    }
    text += "\n";
  }
  if (plan.rates) {
    text += Format("this machine: GEMM %.1f GFLOP/s, attention %.1f GFLOP/s, memory %.1f GB/s\n",
                   plan.rates->gemm_flops * 1e-9, plan.rates->attention_flops * 1e-9,
                   plan.rates->memory_bytes * 1e-9);
  }
  return text;
}

std::string PlanJson(const RunPlan& plan) {
  using nlohmann::json;
  const auto classes = [](const ClassBytes& bytes) {
    json all = json::object();
    for (size_t k = 0; k < kClasses; ++k) all[std::string(ClassName(k))] = bytes[k];
    return all;
  };
  json out = {{"title", plan.title},
              {"tokens_per_step", plan.tokens_per_step},
              {"program_bytes", plan.program_bytes},
              {"process_bytes", plan.ProcessBytes()},
              {"ranks", json::array()}};
  if (plan.rates) {
    out["machine"] = {{"gemm_flops", plan.rates->gemm_flops},
                      {"attention_flops", plan.rates->attention_flops},
                      {"memory_bytes", plan.rates->memory_bytes},
                      {"link_bytes", plan.rates->link_bytes}};
  }
  for (const RankPlan& rank : plan.ranks) {
    json phases = json::array();
    for (const PhasePlan& phase : rank.phases) {
      json one = {{"label", phase.label},
                  {"bytes", classes(phase.bytes)},
                  {"total_bytes", Sum(phase.bytes)},
                  {"sent_bytes", phase.sent.total()},
                  {"flops", phase.ops.flops}};
      if (plan.rates) one["expected_seconds"] = Expected(plan, phase);
      phases.push_back(std::move(one));
    }
    out["ranks"].push_back({{"rank", rank.rank},
                            {"total_bytes", rank.total()},
                            {"worst_phase", rank.phases[rank.worst].label},
                            {"largest_class", std::string(LargestClass(rank))},
                            {"peak_bytes", classes(rank.peak)},
                            {"phases", std::move(phases)}});
  }
  return out.dump(2) + "\n";
}

}  // namespace blockstep
