// What a writer takes is what the memory held at the start, however much of it the engine stages
// and changes meanwhile. Under ThreadSanitizer a wrong order is a race report.
#include "launcher/checkpoint/save_pieces.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <list>
#include <numeric>
#include <thread>

#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr int64_t kTensors = 7, kRows = 12, kCols = 5, kRowsOfPiece = 3;

// Tensor t holds t * 1000 + element; rows have padding after them.
struct Memory {
  std::vector<std::vector<float>> tensors;
  std::list<std::vector<float>> copies;
  int64_t allocated = 0;

  Memory() : tensors(kTensors, std::vector<float>(kRows * (kCols + 1))) {
    for (int t = 0; t < kTensors; ++t) {
      std::iota(tensors[t].begin(), tensors[t].end(), 1000.0f * static_cast<float>(t));
    }
  }
  TensorView View(int t) { return {tensors[t].data(), DType::kF32, kRows, kCols, kCols + 1}; }
  std::vector<SavePiece> Pieces() {
    std::vector<SavePiece> pieces;
    for (int t = 0; t < kTensors; ++t) {
      for (int64_t row = 0; row < kRows; row += kRowsOfPiece) {
        pieces.push_back({.planned = t,
                          .tensor = t,
                          .rows = {row, row + kRowsOfPiece},
                          .view = View(t).Rows(row, row + kRowsOfPiece)});
      }
    }
    return pieces;
  }
  StagingMemory Staging() {
    return {.allocate = [this](int64_t bytes) -> absl::StatusOr<void*> {
              allocated += bytes;
              return copies.emplace_back(bytes / sizeof(float)).data();
            },
            .copy =
                [](std::span<const StagingMemory::Copy> all) {
                  for (const StagingMemory::Copy& c : all) {
                    for (int64_t r = 0; r < c.from.rows; ++r) {
                      std::memcpy(c.to.f32(r), c.from.f32(r), kCols * sizeof(float));
                    }
                  }
                  return absl::OkStatus();
                }};
  }
};

int64_t Wrong(const SavePiece& piece) {
  int64_t wrong = 0;
  for (int64_t r = 0; r < piece.view.rows; ++r) {
    for (int64_t c = 0; c < kCols; ++c) {
      const int64_t element = (piece.rows.begin + r) * (kCols + 1) + c;
      wrong += piece.view.f32(r)[c] != static_cast<float>(1000 * piece.tensor + element);
    }
  }
  return wrong;
}

TEST(SavePieces, WriterSeesTheStartWhileTheEngineChangesEverything) {
  for (int round = 0; round < 40; ++round) {
    Memory memory;
    SavePieces pieces(memory.Pieces());
    int64_t wrong = 0, taken = 0;
    std::thread writer([&] {
      while (const std::optional<SavePiece> piece = pieces.Take()) {
        if (round % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
        wrong += Wrong(*piece);
        ++taken;
        pieces.Written();
      }
    });
    for (int step = 0; step < kTensors; ++step) {
      const int t = (step * 3 + round) % kTensors;
      if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
      const auto staged =
          pieces.Stage([&](const SavePiece& p) { return p.tensor == t; }, memory.Staging());
      EXPECT_TRUE(staged.ok());
      std::fill(memory.tensors[t].begin(), memory.tensors[t].end(), -1.0f);
    }
    writer.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(taken, kTensors * kRows / kRowsOfPiece);
  }
}

TEST(SavePieces, CopiesOnceWhatIsNotWrittenYet) {
  Memory memory;
  SavePieces pieces(memory.Pieces());
  const auto stage = [&](int tensor, Range rows) {
    return pieces
        .Stage(
            [&](const SavePiece& p) {
              return p.tensor == tensor && !Intersect(p.rows, rows).empty();
            },
            memory.Staging())
        .value();
  };
  const int64_t piece_bytes = RoundUp(kRowsOfPiece * kCols * 4, 16);
  EXPECT_EQ(stage(1, {4, 8}), 2 * piece_bytes);
  EXPECT_EQ(stage(1, {0, kRows}), 2 * piece_bytes);
  EXPECT_EQ(stage(1, {0, kRows}), 0);
  for (int64_t i = 0; i < 2 * kRows / kRowsOfPiece; ++i) {  // tensors 0 and 1
    ASSERT_TRUE(pieces.Take().has_value());
    pieces.Written();
  }
  EXPECT_EQ(stage(0, {0, kRows}), 0);
  EXPECT_EQ(stage(2, {0, 1}), piece_bytes);
  pieces.Cancel();
  EXPECT_FALSE(pieces.Take().has_value());
  EXPECT_EQ(stage(3, {0, kRows}), 0);
  EXPECT_EQ(memory.allocated, 5 * piece_bytes);
}

TEST(SavePieces, WaitsForThePieceInHand) {
  Memory memory;
  SavePieces pieces(memory.Pieces());
  const SavePiece in_hand = *pieces.Take();
  std::thread writer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(Wrong(in_hand), 0);
    pieces.Written();
  });
  EXPECT_TRUE(
      pieces.Stage([](const SavePiece& p) { return p.tensor == 0; }, memory.Staging()).ok());
  std::fill(memory.tensors[0].begin(), memory.tensors[0].end(), -1.0f);
  writer.join();
}

}  // namespace
}  // namespace blockstep
