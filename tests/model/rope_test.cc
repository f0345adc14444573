// RoPE tables against those of transformers, for every scaling and every position of the fixtures.
#include <gtest/gtest.h>

#include <cmath>

#include "core/data/safetensors.h"
#include "model/rope_table.h"

namespace blockstep {
namespace {

class RopeTest : public ::testing::TestWithParam<const char*> {};

TEST_P(RopeTest, TablesOfTransformers) {
  const std::string folder = std::string(BLOCKSTEP_SOURCE_DIR "/tests/golden/") + GetParam();
  const auto config = LoadLlamaConfig(folder);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto file = SafetensorsFile::Open(folder + "/reference.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const int64_t positions = config->max_positions, half = config->head_dim / 2;
  const RopeTable table = MakeRopeTable(*config, positions);
  std::vector<float> cos(positions * half), sin(positions * half);
  ASSERT_TRUE(file->ReadRows("rope.cos", {0, positions}, cos.data()).ok());
  ASSERT_TRUE(file->ReadRows("rope.sin", {0, positions}, sin.data()).ok());
  // PyTorch's powf, and its sine and cosine, may each be off by an ulp or so: 2^-23 relative in the
  // frequency moves the angle of the last position by `positions` times that.
  const double bound = static_cast<double>(positions) * 0x1p-23;
  for (int64_t i = 0; i < positions * half; ++i) {
    EXPECT_NEAR(table.cos[i], cos[i], bound) << "position " << i / half << " pair " << i % half;
    EXPECT_NEAR(table.sin[i], sin[i], bound) << "position " << i / half << " pair " << i % half;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, RopeTest,
                         ::testing::Values("untied_mha", "gqa_llama3", "tied_linear"),
                         [](const auto& info) { return std::string(info.param); });

// Each branch of Llama 3's rule, by hand: wavelengths 2 pi (kept), 20 pi (blended), 200 pi
// (divided).
TEST(RopeFrequencies, Llama3Branches) {
  LlamaConfig config{.head_dim = 6, .rope_theta = 1000.0};
  config.rope = {.type = RopeType::kLlama3,
                 .factor = 8,
                 .low_freq_factor = 1,
                 .high_freq_factor = 4,
                 .original_max_position = 100};
  const std::vector<float> f = RopeFrequencies(config);
  ASSERT_EQ(f.size(), 3u);
  EXPECT_FLOAT_EQ(f[0], 1.0f);
  const double smooth = (100 / (20 * 3.14159265358979) - 1) / 3;
  EXPECT_NEAR(f[1], (1 - smooth) * 0.1 / 8 + smooth * 0.1, 1e-7);
  EXPECT_NEAR(f[2], 0.01 / 8, 1e-8);
}

}  // namespace
}  // namespace blockstep
