// What a step executes and keeps when one tensor learns, for every tensor of a three-layer model,
// against a table written by hand: GEMMs by kind, bytes of activations, units acquired again.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/base/math.h"
#include "model/llama_tensors.h"
#include "tests/model/counting_kernels.h"
#include "tests/model/model_rig.h"

namespace blockstep::testing {
namespace {

// FLOPs per token of the model's matrices under a plan, 2 per multiply-add; attention's are apart.
struct GemmFlops {
  int64_t forward = 0, recompute = 0, dx = 0, dw = 0;
  int64_t total() const { return forward + recompute + dx + dw; }
};
GemmFlops GemmFlopsPerToken(const SavePlan& plan, const ActiveSet& set, const TensorTable& table) {
  const int64_t layers = static_cast<int64_t>(plan.layers.size());
  const auto cost = [&table](int tensor) { return 2 * table.tensors[tensor].size(); };
  const int64_t head = cost(HeadTensor(layers, table.tied));
  GemmFlops f{.forward = head, .dx = plan.d_hidden ? head : 0};
  for (int64_t l = 0; l < layers; ++l) {
    const LayerPlan& p = plan.layers[l];
    const LayerOps& r = p.rerun;
    const struct {
      LayerTensor which;
      bool rerun, dx;
    } gemms[] = {{kQ, r.q, p.d_norm1},       {kK, r.k, p.d_norm1},       {kV, r.v, p.d_norm1},
                 {kO, r.o, p.d_attn},        {kGate, r.gate, p.d_norm2}, {kUp, r.up, p.d_norm2},
                 {kDown, r.down, p.d_swiglu}};
    for (const auto& g : gemms) {
      const int64_t flops = cost(LayerTensorIndex(l, g.which));
      f.forward += flops;
      if (g.rerun) f.recompute += flops;
      if (g.dx) f.dx += flops;
    }
  }
  const auto add_dw = [&](const std::vector<int>& entries) {
    for (int i : entries) {
      const ActiveEntry& e = set.entries[i];
      const TensorInfo& t = table.tensors[e.tensor];
      if (!t.vector) f.dw += 2 * e.rows.size() * t.cols;
    }
  };
  // The embedding's dW is a sum of rows, no GEMM.
  add_dw(plan.head_entries);
  for (const LayerPlan& p : plan.layers) add_dw(p.entries);
  return f;
}

constexpr int64_t kLayers = 3;
constexpr int64_t kSlots = 2, kTokens = 40, kChunk = 16;
constexpr int64_t kChunks = kSlots * 3;  // 40 tokens in chunks of 16

// The layer that the cut goes through, by its lowest active tensor.
struct CutLayer {
  int64_t dx = 0;     // GEMMs for gradients of activations
  int64_t dw = 0;     // GEMMs for weight gradients
  int64_t rerun = 0;  // GEMMs of recomputation
  std::set<std::string> kept;
};
const std::set<std::string> kWhole = {"input", "rstd1", "q",     "k",    "v", "stats",
                                      "attn",  "mid",   "rstd2", "gate", "up"};
const std::map<std::string, CutLayer> kCuts = {
    {"mlp.down_proj", {0, 1, 6, {"swiglu"}}},
    {"mlp.gate_proj", {1, 1, 6, {"norm2", "gate", "up"}}},
    {"mlp.up_proj", {1, 1, 5, {"norm2", "gate"}}},
    {"post_attention_layernorm", {3, 0, 6, {"mid", "rstd2", "gate", "up"}}},
    {"self_attn.o_proj", {3, 1, 6, {"attn", "mid", "rstd2", "gate", "up"}}},
    {"self_attn.q_proj",
     {4, 1, 6, {"norm1", "q", "k", "v", "stats", "attn", "mid", "rstd2", "gate", "up"}}},
    {"self_attn.k_proj",
     {4, 1, 6, {"norm1", "q", "k", "v", "stats", "attn", "mid", "rstd2", "gate", "up"}}},
    {"self_attn.v_proj", {4, 1, 6, {"norm1", "q", "k", "stats", "mid", "rstd2", "gate", "up"}}},
    {"input_layernorm", {7, 0, 6, kWhole}},
};

struct Expected {
  int64_t forward = 7 * kLayers + kChunks;
  int64_t rerun = 0, dx = 0, dw = 0;
  std::vector<std::set<std::string>> kept = std::vector<std::set<std::string>>(kLayers);
  bool final_rstd = false;
  std::vector<std::string> backward_units;  // acquired again, in order
};

Expected ExpectedFor(const TensorTable& table, int tensor) {
  const TensorInfo& t = table.tensors[tensor];
  const UnitInfo& unit = table.units[t.unit];
  Expected e;
  if (t.name == "lm_head.weight") {
    e.dw = kChunks;
    return e;
  }
  e.dx = kChunks;
  e.final_rstd = true;
  if (t.name == "model.norm.weight") return e;
  const int64_t cut = unit.kind == UnitKind::kEmbedding ? -1 : unit.layer;
  for (int64_t l = kLayers - 1; l > cut; --l) {
    e.dx += 7;
    e.rerun += 6;
    e.kept[l] = kWhole;
    e.backward_units.push_back(Cat("layer ", l));
  }
  if (cut < 0) return e;
  const size_t prefix = Cat("model.layers.", cut, ".").size();
  const CutLayer& c = kCuts.at(t.name.substr(prefix, t.name.rfind('.') - prefix));
  e.dx += c.dx;
  e.dw += c.dw;
  e.rerun += c.rerun;
  e.kept[cut] = c.kept;
  // Down's gradient needs no weight of its layer.
  if (c.dx > 0) e.backward_units.push_back(Cat("layer ", cut));
  return e;
}

int64_t BytesOf(const LlamaConfig& c, const std::string& kept) {
  const int64_t n = kSlots * kTokens, query = c.heads * c.head_dim, key = c.kv_heads * c.head_dim;
  const std::map<std::string, int64_t> columns = {{"input", c.hidden},
                                                  {"rstd1", 1},
                                                  {"norm1", c.hidden},
                                                  {"q", query},
                                                  {"k", key},
                                                  {"v", key},
                                                  {"stats", c.heads},
                                                  {"attn", query},
                                                  {"mid", c.hidden},
                                                  {"rstd2", 1},
                                                  {"norm2", c.hidden},
                                                  {"gate", c.intermediate},
                                                  {"up", c.intermediate},
                                                  {"swiglu", c.intermediate}};
  return RoundUp(n * columns.at(kept) * 4, 256);  // the arena's grain
}

int64_t ActivationBytes(const LlamaConfig& c, const Expected& e, Recompute recompute) {
  int64_t bytes = e.final_rstd ? RoundUp(kSlots * kTokens * 4, 256) : 0;
  std::set<std::string> once;  // of whichever layer is being recomputed
  for (const auto& kept : e.kept) {
    if (recompute == Recompute::kNone) {
      for (const std::string& k : kept) bytes += BytesOf(c, k);
    } else if (!kept.empty()) {
      bytes += BytesOf(c, "input");
      once.insert(kept.begin(), kept.end());
    }
  }
  once.erase("input");
  for (const std::string& k : once) bytes += BytesOf(c, k);
  return bytes;
}

std::vector<std::string> AcquiredAfterHead(const std::vector<std::string>& log) {
  std::vector<std::string> units;
  bool after = false;
  for (const std::string& call : log) {
    if (after && call.starts_with("acquire ")) units.push_back(call.substr(8));
    after |= call == "acquire head";
  }
  return units;
}

class CutTest : public ::testing::TestWithParam<Recompute> {};

TEST_P(CutTest, EverySingleTensor) {
  const KernelTable kernels = CountingKernels(*CpuBackend().kernels);
  const LlamaConfig config = TinyConfig(kLayers);
  ModelRig rig(config, {.kernels = &kernels,
                        .recompute = GetParam(),
                        .shape = {.slots = kSlots, .tokens = kTokens},
                        .loss_chunk = kChunk});
  rig.FillRandom(3);
  rig.RandomBatch(4);
  const size_t activations = static_cast<size_t>(MemoryClass::kActivations);
  for (size_t i = 0; i < rig.table().tensors.size(); ++i) {
    SCOPED_TRACE(rig.table().tensors[i].name);
    const Expected e = ExpectedFor(rig.table(), static_cast<int>(i));
    const ActiveSet set = Only(rig.table(), static_cast<int>(i));
    Tally() = {};
    rig.Run(set);
    const bool recompute = GetParam() == Recompute::kLayer;
    EXPECT_EQ(Tally().forward, e.forward + (recompute ? e.rerun : 0));
    EXPECT_EQ(Tally().dx, e.dx);
    EXPECT_EQ(Tally().dw, e.dw);
    EXPECT_EQ(rig.use.current[activations], ActivationBytes(config, e, GetParam()));
    const GemmFlops flops = GemmFlopsPerToken(rig.llama->plan(), set, rig.table());
    EXPECT_EQ(Tally().forward_flops, (flops.forward + flops.recompute) * rig.n());
    EXPECT_EQ(Tally().dx_flops, flops.dx * rig.n());
    EXPECT_EQ(Tally().dw_flops, flops.dw * rig.n());
    if (!recompute) {
      EXPECT_EQ(AcquiredAfterHead(rig.units->log), e.backward_units);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, CutTest, ::testing::Values(Recompute::kNone, Recompute::kLayer),
                         [](const auto& info) {
                           return info.param == Recompute::kNone ? "Keep" : "Recompute";
                         });

// Full training: the embedding learns, so every matrix has a dX and a dW of its forward's cost.
TEST(CutTest, EverythingCostsThreeForwards) {
  const TensorTable table = LlamaTensors(TinyConfig(kLayers));
  const ActiveSet all = Everything(table);
  const GemmFlops f = GemmFlopsPerToken(MakeSavePlan(all, table, Recompute::kNone), all, table);
  EXPECT_EQ(f.total(), 3 * f.forward);
  EXPECT_EQ(f.recompute, 0);
}

// The same calls on the null backend, whose memory faults when touched: the model reads none.
TEST(NullBackend, RunsWithoutMemory) {
  for (const bool tied : {false, true}) {
    const KernelTable kernels = CountingKernels(*NullBackend().kernels);
    ModelRig rig(tied ? TinyTiedConfig() : TinyConfig(kLayers),
                 {.backend = "null", .kernels = &kernels});
    const ActiveSet all = Everything(rig.table());
    Tally() = {};
    NullCounters() = {};
    rig.Run(all);
    EXPECT_EQ(NullCounters().matmuls, Tally().forward + Tally().dx + Tally().dw);
    const GemmFlops flops = GemmFlopsPerToken(rig.llama->plan(), all, rig.table());
    EXPECT_EQ(Tally().forward_flops + Tally().dx_flops + Tally().dw_flops, flops.total() * rig.n());
    rig.Loss();
  }
}

}  // namespace
}  // namespace blockstep::testing
