// A tiny model as N ranks hold it, and runs of N ranks as threads.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "core/base/philox.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/data/safetensors.h"
#include "core/tensor/sharding.h"
#include "dist/local/local_communicator.h"
#include "launcher/checkpoint/checkpoint.h"

namespace blockstep {

// Removed with everything in it at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = std::filesystem::temp_directory_path() / "blockstep-test-XXXXXX";
    CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void WriteText(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// Odd sizes on purpose: rows that quanta do not divide, a tensor with fewer quanta than ranks.
inline TensorTable TinyTable() {
  TensorTable table;
  table.tensors = {
      {.name = "model.embed_tokens.weight", .rows = 67, .cols = 24, .unit = 0},
      {.name = "model.layers.0.self_attn.q_proj.weight", .rows = 320, .cols = 24, .unit = 1},
      {.name = "model.layers.0.input_layernorm.weight",
       .rows = 24,
       .cols = 1,
       .unit = 1,
       .vector = true,
       .decay = false,
       .init = InitKind::kOnes},
      {.name = "model.layers.0.mlp.down_proj.weight", .rows = 24, .cols = 768, .unit = 1},
      {.name = "model.norm.weight", .rows = 600, .cols = 1, .unit = 2, .vector = true},
      {.name = "lm_head.weight", .rows = 67, .cols = 24, .unit = 2}};
  table.units = {{"embedding", UnitKind::kEmbedding, -1, {0}},
                 {"layer 0", UnitKind::kLayer, 0, {1, 2, 3}},
                 {"head", UnitKind::kHead, -1, {4, 5}}};
  return table;
}

// The value at (row, col) of tensor or state `key`: the same however rows are dealt.
inline float ValueAt(uint64_t seed, uint32_t key, int64_t row, int64_t col) {
  return static_cast<float>(
      NormalPair(Draw(seed, RandomUse::kTest, key, static_cast<uint64_t>(row << 20 | col)))[0]);
}

// What one rank of N holds. `padding` columns after each row make views that are not contiguous.
struct RankState {
  TensorTable table = TinyTable();
  int ranks = 1, rank = 0;
  int64_t padding = 0;
  std::vector<std::vector<float>> weights;
  std::vector<std::vector<float>> states;
  std::vector<StateSlice> slices;
  // Entries with state: a whole tensor, a row range, a vector.
  std::vector<std::pair<int, Range>> entries = {{1, {64, 256}}, {2, {0, 24}}, {3, {0, 24}}};

  RankState(int ranks, int rank, int64_t padding = 0) : ranks(ranks), rank(rank), padding(padding) {
    for (size_t t = 0; t < table.tensors.size(); ++t) {
      weights.emplace_back(
          static_cast<size_t>(OwnedRange(static_cast<int>(t)).size() * ld(static_cast<int>(t))));
    }
    states.reserve(3 * entries.size());
    for (const auto& [tensor, rows] : entries) {
      const Range mine = Intersect(rows, OwnedRange(tensor));
      for (const char* name : {"m", "v"}) {
        states.emplace_back(static_cast<size_t>(mine.size() * cols(tensor)));
        slices.push_back(
            {tensor, rows, name, StateLayout::kLikeTensor,
             TensorView::Of(states.back().data(), DType::kF32, mine.size(), cols(tensor)),
             mine.begin});
      }
      states.emplace_back(5);
      slices.push_back({tensor, rows, "scales", StateLayout::kReplicated,
                        TensorView::Of(states.back().data(), DType::kF32, 1, 5), 0});
    }
  }
  int64_t cols(int t) const { return table.tensors[static_cast<size_t>(t)].cols; }
  int64_t ld(int t) const { return cols(t) + padding; }
  Range OwnedRange(int t) const {
    return OwnedRows(table.tensors[static_cast<size_t>(t)], ranks, rank);
  }
  TensorView Owned(int t) {
    return {weights[static_cast<size_t>(t)].data(), DType::kF32, OwnedRange(t).size(), cols(t),
            ld(t)};
  }
  OwnedWeights Weights() {
    return {&table, [this](int t) { return Owned(t); }, [this](int t) { return OwnedRange(t); }};
  }
  // Visits every value with what it should be for `seed`.
  void ForEach(uint64_t seed, const std::function<void(float& value, float wanted)>& visit) {
    for (int t = 0; t < static_cast<int>(table.tensors.size()); ++t) {
      const TensorView view = Owned(t);
      for (int64_t r = 0; r < view.rows; ++r) {
        for (int64_t c = 0; c < view.cols; ++c) {
          visit(view.f32(r)[c],
                ValueAt(seed, static_cast<uint32_t>(t), OwnedRange(t).begin + r, c));
        }
      }
    }
    for (size_t s = 0; s < slices.size(); ++s) {
      const StateSlice& slice = slices[s];
      for (int64_t r = 0; r < slice.view.rows; ++r) {
        for (int64_t c = 0; c < slice.view.cols; ++c) {
          visit(slice.view.f32(r)[c],
                ValueAt(seed, static_cast<uint32_t>(100 + s), slice.row0 + r, c));
        }
      }
    }
  }
  void Fill(uint64_t seed) {
    ForEach(seed, [](float& value, float wanted) { value = wanted; });
  }
  int64_t Mismatches(uint64_t seed) {
    int64_t wrong = 0;
    ForEach(seed, [&](float& value, float wanted) {
      wrong += std::memcmp(&value, &wanted, sizeof(float)) != 0;
    });
    return wrong;
  }
};

inline TrainerState SomeTrainerState(int64_t step) {
  TrainerState state;
  state.step = step;
  state.tokens = step * 4096;
  state.slot = 17;
  state.epoch = 2;
  state.phase = 3;
  state.run_id = "00112233445566778899aabbccddeeff";
  state.config_hash = "c0ffee";
  state.config_text = "model { preset: \"9m\" }\n";
  state.policy_state = std::string("bytes\0with zero", 15);
  state.counters = {{1, {64, 256}, 41}, {2, {0, 24}, 7}};
  Directive directive{.from = step,
                      .through = step + 9,
                      .phase = 3,
                      .probe_candidates = {0, 3},
                      .probes_per_step = 1,
                      .label = "layer 0"};
  directive.sets = {{{{1, {64, 256}, Role::kTrain, 0, 0.5f}, {3, {0, 24}, Role::kProbe, 0, 1.0f}}}};
  state.directives = {directive};
  state.bad_steps = 1;
  return state;
}

inline CheckpointContents Contents(RankState& rank, int64_t step) {
  return {rank.Weights(), rank.slices, SomeTrainerState(step), "{\"model_type\": \"llama\"}\n", {}};
}

// Runs `body` as each of `ranks` ranks; returns the status of each.
inline std::vector<absl::Status> RunRanks(
    int ranks, const std::function<absl::Status(Communicator* group)>& body) {
  auto group = LocalGroup::Create(ranks);
  std::vector<absl::Status> statuses(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back(
        [&, r] { statuses[static_cast<size_t>(r)] = body(group[static_cast<size_t>(r)].get()); });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

// A whole save at once. Collective.
inline absl::StatusOr<CheckpointInfo> SaveCheckpoint(const std::string& run_folder,
                                                     CheckpointContents contents,
                                                     Communicator* group,
                                                     SaveOptions options = {}) {
  ASSIGN_OR_RETURN(
      const std::unique_ptr<CheckpointSave> save,
      CheckpointSave::Begin(run_folder, std::move(contents), group, std::move(options)));
  RETURN_IF_ERROR(save->Finish());
  return save->outcome();
}

// Saves values of `seed` as `step` from `ranks` ranks.
inline std::vector<absl::Status> SaveFrom(int ranks, const std::string& run, int64_t step,
                                          uint64_t seed, SaveOptions options = {}) {
  return RunRanks(ranks, [&](Communicator* group) -> absl::Status {
    RankState rank(ranks, group->rank(), /*padding=*/group->rank() == 1 ? 3 : 0);
    rank.Fill(seed);
    return SaveCheckpoint(run, Contents(rank, step), group, options).status();
  });
}

// Loads `folder` on `ranks` ranks and compares every value with those of `seed`.
inline std::vector<absl::Status> LoadInto(int ranks, const std::string& folder, uint64_t seed) {
  return RunRanks(ranks, [&](Communicator* group) -> absl::Status {
    RankState rank(ranks, group->rank());
    ASSIGN_OR_RETURN(const auto reader, CheckpointReader::Open(folder, group));
    RETURN_IF_ERROR(reader->LoadWeights(rank.Weights()));
    RETURN_IF_ERROR(reader->LoadStates(rank.slices, {}));
    const int64_t wrong = rank.Mismatches(seed);
    return wrong == 0 ? absl::OkStatus() : Internal(wrong, " values differ");
  });
}

inline void ExpectOk(const std::vector<absl::Status>& statuses) {
  for (size_t r = 0; r < statuses.size(); ++r) {
    EXPECT_TRUE(statuses[r].ok()) << "rank " << r << ": " << statuses[r];
  }
}

// All ranks return the same kind of error with every one of `parts` in its message.
inline void ExpectError(const std::vector<absl::Status>& statuses, absl::StatusCode code,
                        const std::vector<std::string>& parts) {
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), code) << status;
    for (const std::string& part : parts) {
      EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part));
    }
  }
}

// WeightsSha256 as a reader of the files would take it, one process: every weight that lies there,
// whatever the index says.
inline absl::StatusOr<std::string> WeightsSha256OfFolder(const std::string& folder) {
  std::map<std::string, std::pair<std::string, SafetensorsEntry>> found;  // name -> path, entry
  for (const auto& there : std::filesystem::directory_iterator(folder)) {
    if (there.path().extension() != ".safetensors") continue;
    ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(there.path().string()));
    for (const SafetensorsEntry& entry : file.entries()) {
      CHECK(found.emplace(entry.name, std::pair(file.path(), entry)).second);
    }
  }
  CHECK(!found.empty());
  Sha256 sha;
  for (const auto& [name, place] : found) {
    const auto& [path, entry] = place;
    std::string shape;
    for (const int64_t n : entry.shape) shape += Cat(shape.empty() ? "" : ",", n);
    sha.Update(Cat(name, '\0', entry.dtype, '\0', shape, '\0'));
    sha.Update(
        ReadText(path).substr(static_cast<size_t>(entry.offset), static_cast<size_t>(entry.bytes)));
  }
  return sha.Hex();
}

}  // namespace blockstep
