// The ladder against transformers and PyTorch: logits, loss, every gradient, ten AdamW losses,
// final weights. Fixtures and their generator are in tests/golden.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/golden/reference.h"
#include "tests/model/model_rig.h"

namespace blockstep::testing {
namespace {

constexpr double kBound = kGoldenBound;

class GoldenTest : public ::testing::TestWithParam<const char*> {
 protected:
  GoldenTest()
      : folder_(std::string(BLOCKSTEP_SOURCE_DIR "/tests/golden/") + GetParam()),
        reference_(folder_ + "/reference.safetensors") {
    auto config = LoadLlamaConfig(folder_);
    CHECK_OK(config);
    rig_ = std::make_unique<ModelRig>(
        *config, RigOptions{.shape = {.slots = reference_.slots(), .tokens = reference_.tokens()},
                            .loss_chunk = 10,
                            .threads = 2});
    rig_->LoadWeights(folder_);
    SetStep(0);
  }
  void SetStep(int64_t step) {
    targets_ = reference_.Batch("targets", step);
    rig_->SetBatch(reference_.Batch("inputs", step), targets_);
  }
  int64_t Counted() const {
    return std::count_if(targets_.begin(), targets_.end(), [](int32_t t) { return t >= 0; });
  }
  double MeanLoss(const std::vector<float>& loss) const {
    double sum = 0;
    for (const float value : loss) sum += value;
    return sum / static_cast<double>(Counted());
  }

  std::string folder_;
  GoldenReference reference_;
  std::unique_ptr<ModelRig> rig_;
  std::vector<int32_t> targets_;
};

TEST_P(GoldenTest, Logits) {
  const double distance = Distance(rig_->Logits(), reference_.Floats("logits"));
  RecordProperty("distance", Cat(distance));
  EXPECT_LE(distance, kBound);
}

TEST_P(GoldenTest, Loss) {
  const double theirs = reference_.Floats("loss")[0];
  EXPECT_NEAR(MeanLoss(rig_->Loss()), theirs, kBound * theirs);
}

TEST_P(GoldenTest, EveryGradient) {
  const Gradients g = rig_->Run(Everything(rig_->table()), 1.0f / static_cast<float>(Counted()));
  double worst = 0;
  for (size_t i = 0; i < g.dw.size(); ++i) {
    const std::string& name = rig_->table().tensors[i].name;
    const double distance = Distance(g.dw[i], reference_.Floats("grad." + name));
    EXPECT_LE(distance, kBound) << name;
    worst = std::max(worst, distance);
  }
  std::cout << "worst gradient: " << worst << " of " << kBound << "\n";
}

TEST_P(GoldenTest, TenAdamWSteps) {
  const TensorTable& table = rig_->table();
  const std::vector<float> theirs = reference_.Floats("losses");
  std::vector<std::vector<float>> m, v;
  for (const TensorInfo& t : table.tensors) {
    m.emplace_back(t.size(), 0.0f);
    v.emplace_back(t.size(), 0.0f);
  }
  double worst = 0;
  for (int64_t step = 0; step < reference_.steps(); ++step) {
    SetStep(step);
    Gradients g = rig_->Run(Everything(table), 1.0f / static_cast<float>(Counted()));
    const double ours = MeanLoss(g.loss);
    EXPECT_NEAR(ours, theirs[step], kBound * theirs[step]) << "step " << step;
    worst = std::max(worst, std::abs(ours - theirs[step]) / theirs[step]);
    for (size_t i = 0; i < g.dw.size(); ++i) {
      const TensorInfo& t = table.tensors[i];
      const auto view = [&t](std::vector<float>& values) {
        return TensorView::Of(values.data(), DType::kF32, t.rows, t.cols);
      };
      rig_->backend.kernels->adamw(*rig_->compute,
                                   {.param = rig_->units->Owned(static_cast<int>(i)),
                                    .grad = view(g.dw[i]),
                                    .m = view(m[i]),
                                    .v = view(v[i]),
                                    .lr = 1e-3f,
                                    .beta1 = 0.9f,
                                    .beta2 = 0.95f,
                                    .eps = 1e-8f,
                                    .weight_decay = t.decay ? 0.1f : 0.0f,
                                    .step = step + 1});
    }
    ASSERT_TRUE(rig_->compute->Synchronize().ok());
  }
  std::cout << "worst loss: " << worst << " of " << kBound << "\n";
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    const TensorView w = rig_->units->Owned(static_cast<int>(i));
    EXPECT_LE(Distance({w.f32(), w.f32() + w.size()},
                       reference_.Floats("final." + table.tensors[i].name)),
              kBound)
        << table.tensors[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenTest,
                         ::testing::Values("untied_mha", "gqa_llama3", "tied_linear"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace blockstep::testing
