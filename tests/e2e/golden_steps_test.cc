// Ten steps of the real step engine against PyTorch: AdamW of entries with learning rates of their
// own, clipped by their common norm, under a schedule with warm-up; in the midst another active set
// begins with fresh state. tests/golden/generate_steps.py made the numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "core/base/str.h"
#include "model/llama_tensors.h"
#include "tests/e2e/engine_harness.h"
#include "tests/golden/reference.h"

namespace blockstep::testing {
namespace {

using nlohmann::json;

int TensorNamed(const TensorTable& table, const std::string& name) {
  const auto found = std::find_if(table.tensors.begin(), table.tensors.end(),
                                  [&](const TensorInfo& t) { return t.name == name; });
  CHECK(found != table.tensors.end());
  return static_cast<int>(found - table.tensors.begin());
}

ActiveSet SetOf(const json& entries, const TensorTable& table) {
  ActiveSet set;
  for (const json& e : entries) {
    set.entries.push_back({.tensor = TensorNamed(table, e["tensor"]),
                           .rows = {e["rows"][0], e["rows"][1]},
                           .lr_scale = e["lr_scale"]});
  }
  std::sort(set.entries.begin(), set.entries.end(), [](const ActiveEntry& a, const ActiveEntry& b) {
    return std::pair(a.tensor, a.rows.begin) < std::pair(b.tensor, b.rows.begin);
  });
  return set;
}

struct Seen {
  std::vector<double> norms, rates;
  RunOutcome run;
};

class GoldenSteps : public ::testing::TestWithParam<const char*> {
 protected:
  GoldenSteps()
      : folder_(std::string(BLOCKSTEP_SOURCE_DIR "/tests/golden/") + GetParam()),
        config_(LoadLlamaConfig(folder_).value()),
        table_(LlamaTensors(config_)),
        batches_(folder_ + "/reference.safetensors"),
        theirs_(folder_ + "/steps.safetensors") {
    std::ifstream in(folder_ + "/steps.json");
    script_ = json::parse(in);
  }

  RunSpec Spec(int ranks, Numerics numerics) {
    const json& schedule = script_["schedule"];
    RunSpec spec{.ranks = ranks,
                 .policy = {.name = "scripted"},
                 .steps = batches_.steps(),
                 .slots = batches_.slots(),
                 .tokens = batches_.tokens(),
                 .numerics = numerics,
                 .clip_norm = script_["clip_norm"],
                 .eps = script_["eps"],
                 .model = config_,
                 .schedule = ScheduleConfig{.peak = schedule["peak"],
                                            .warmup_steps = schedule["warmup_steps"],
                                            .floor_ratio = schedule["floor"]}};
    for (const json& phase : script_["phases"]) {
      spec.policy.script.push_back({SetOf(phase["entries"], table_), phase["steps"]});
    }
    spec.init = [this](int tensor, Range rows, float* out) {
      CHECK_OK(SafetensorsFile::Open(folder_ + "/model.safetensors")
                   .value()
                   .ReadRows(table_.tensors[tensor].name, rows, out));
    };
    spec.read_slots = [this](int64_t position, int64_t count, const SlotBuffers& out) {
      const int64_t slots = batches_.slots(), tokens = batches_.tokens();
      for (int64_t s = 0; s < count; ++s) {
        const int64_t step = (position + s) / slots, first = (position + s) % slots * tokens;
        std::copy_n(batches_.Batch("inputs", step).begin() + first, tokens,
                    out.inputs + s * tokens);
        std::copy_n(batches_.Batch("targets", step).begin() + first, tokens,
                    out.targets + s * tokens);
      }
      return absl::OkStatus();
    };
    return spec;
  }

  Seen Train(int ranks, Numerics numerics) {
    Seen seen;
    RunSpec spec = Spec(ranks, numerics);
    spec.after_step = [&](int rank, StepEngine&, const RankGroup&, Arena&,
                          const StepResult& result) {
      if (rank != 0) return;
      seen.norms.push_back(result.grad_norm);
      seen.rates.push_back(result.learning_rate);
    };
    seen.run = RunTraining(spec);
    return seen;
  }

  // The largest relative difference.
  double Compare(const char* name, const std::vector<double>& ours, double bound) {
    const std::vector<double> theirs = script_[name];
    EXPECT_EQ(ours.size(), theirs.size());
    double worst = 0;
    for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
      EXPECT_NEAR(ours[i], theirs[i], bound * theirs[i]) << name << " of step " << i;
      worst = std::max(worst, std::abs(ours[i] / theirs[i] - 1));
    }
    return worst;
  }

  std::string folder_;
  LlamaConfig config_;
  TensorTable table_;
  GoldenReference batches_, theirs_;
  json script_;
};

TEST_P(GoldenSteps, TenLossesThroughTheEngine) {
  for (const Numerics numerics : {Numerics::kSlotExact, Numerics::kFast}) {
    for (const int ranks : {1, 2}) {
      SCOPED_TRACE(Cat(numerics == Numerics::kFast ? "fast" : "slot_exact", ", ", ranks, " ranks"));
      const Seen seen = Train(ranks, numerics);
      const double losses = Compare("losses", seen.run.losses, kGoldenBound);
      const double norms = Compare("grad_norms", seen.norms, kGoldenBound);
      Compare("learning_rates", seen.rates, 1e-12);
      double weights = 0;
      for (size_t t = 0; t < table_.tensors.size(); ++t) {
        const std::string& name = table_.tensors[t].name;
        const double distance = Distance(seen.run.weights[t], theirs_.Floats(name));
        EXPECT_LE(distance, kGoldenBound) << name;
        weights = std::max(weights, distance);
      }
      std::cout << "worst loss " << losses << ", norm " << norms << ", weights " << weights
                << " of " << kGoldenBound << "\n";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenSteps,
                         ::testing::Values("untied_mha", "gqa_llama3", "tied_linear"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace blockstep::testing
