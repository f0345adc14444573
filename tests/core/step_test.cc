// Tensor geometry, active sets, directives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/step/directive.h"
#include "core/tensor/sharding.h"

namespace blockstep {
namespace {

using ::testing::HasSubstr;

TensorTable Table() {
  TensorTable t;
  t.tensors = {{.name = "embed", .rows = 1000, .cols = 96},
               {.name = "q", .rows = 128, .cols = 96},
               {.name = "norm", .rows = 96, .cols = 1, .vector = true},
               {.name = "head", .rows = 1000, .cols = 96}};
  return t;
}

TEST(Sharding, QuantaAreWholeRowsOf256Elements) {
  for (int64_t cols : {1, 3, 96, 256, 512, 1376}) {
    const int64_t q = QuantumRows(cols);
    EXPECT_EQ(q * cols % 256, 0) << cols;
    for (int64_t fewer = 1; fewer < q; ++fewer) EXPECT_NE(fewer * cols % 256, 0) << cols;
  }
}

TEST(Sharding, OwnersCoverEveryRowOnceAndEvenly) {
  for (int64_t rows : {1, 8, 63, 1000}) {
    for (int64_t cols : {1, 96, 256}) {
      const TensorInfo t = {.name = "t", .rows = rows, .cols = cols};
      for (int64_t shards : {1, 2, 3, 4, 7}) {
        int64_t next = 0;
        for (int64_t s = 0; s < shards; ++s) {
          const Range r = OwnedRows(t, shards, s);
          EXPECT_EQ(r.begin, next);
          EXPECT_LE(r.size(), ShardRows(t, shards));
          EXPECT_EQ(r.begin % QuantumRows(cols) == 0 || r.empty(), true);
          next = r.end;
        }
        EXPECT_EQ(next, rows);
        EXPECT_GE(PaddedRows(t, shards), rows);
        EXPECT_EQ(PaddedRows(t, shards), shards * ShardRows(t, shards));
        // One quantum fewer per shard would not hold the tensor.
        EXPECT_LT(shards * (ShardRows(t, shards) - QuantumRows(cols)),
                  RoundUp(rows, QuantumRows(cols)));
      }
    }
  }
}

TEST(TensorTable, FindsByName) {
  EXPECT_EQ(Table().Find("norm"), 2);
  EXPECT_EQ(Table().Find("nrm"), -1);
  EXPECT_EQ(Table().parameters(), 1000 * 96 * 2 + 128 * 96 + 96);
}

TEST(TensorView, SlicesKeepTheStride) {
  float data[6 * 10] = {};
  const TensorView v = {data, DType::kF32, 6, 8, 10};
  EXPECT_FALSE(v.contiguous());
  const TensorView part = v.Rows(2, 5).Cols(3, 7);
  EXPECT_EQ(part.f32(1), data + 3 * 10 + 3);
  EXPECT_EQ(part.rows, 3);
  EXPECT_EQ(part.cols, 4);
  EXPECT_DEATH(v.Rows(2, 7), "end <= rows");
}

TEST(ActiveSet, ValidateNamesWhatIsWrong) {
  const TensorTable t = Table();
  const auto error = [&](std::vector<ActiveEntry> entries) {
    return std::string(Validate({std::move(entries)}, t).message());
  };
  EXPECT_EQ(error({{.tensor = 0, .rows = {64, 1000}},
                   {.tensor = 1, .rows = {0, 64}},
                   {.tensor = 1, .rows = {64, 128}}}),
            "");
  EXPECT_THAT(error({{.tensor = 4, .rows = {0, 64}}}), HasSubstr("got 4"));
  EXPECT_THAT(error({{.tensor = 1, .rows = {0, 129}}}),
              HasSubstr("q: expected a non-empty row range inside [0, 128), got [0, 129)"));
  EXPECT_THAT(error({{.tensor = 1, .rows = {64, 64}}}), HasSubstr("non-empty"));
  EXPECT_THAT(error({{.tensor = 1, .rows = {32, 128}}}), HasSubstr("multiples of 64"));
  EXPECT_THAT(error({{.tensor = 0, .rows = {0, 100}}}), HasSubstr("multiples of 64"));
  // A vector's quantum is 256 rows.
  TensorTable long_vector = t;
  long_vector.tensors[2].rows = 1000;
  const auto vector = [&](Range rows) {
    return std::string(Validate({{{.tensor = 2, .rows = rows}}}, long_vector).message());
  };
  EXPECT_EQ(vector({256, 1000}), "");
  EXPECT_THAT(vector({64, 256}), HasSubstr("norm: expected row bounds that are multiples of 256"));
  EXPECT_THAT(vector({0, 320}), HasSubstr("or the last row 1000, got [0, 320)"));
  EXPECT_THAT(error({{.tensor = 0, .rows = {0, 128}}, {.tensor = 0, .rows = {64, 192}}}),
              HasSubstr("overlap"));
  EXPECT_THAT(error({{.tensor = 1, .rows = {0, 64}}, {.tensor = 0, .rows = {0, 64}}}),
              HasSubstr("precede"));
}

Directive Example() {
  Directive d;
  d.from = 3;
  d.through = 9;
  d.phase = 2;
  d.sets = {{{WholeTensor(Table(), 1)}}};
  d.probe_candidates = {0, 2, 3};
  d.probes_per_step = 2;
  return d;
}

TEST(Directive, HashSeesEveryFieldButTheLabel) {
  const uint64_t base = Example().Hash();
  std::set<uint64_t> hashes = {base};
  const auto with = [&](auto change) {
    Directive d = Example();
    change(d);
    return d.Hash();
  };
  EXPECT_EQ(with([](Directive& d) { d.label = "layer 3"; }), base);
  hashes.insert(with([](Directive& d) { d.kind = DirectiveKind::kSweep; }));
  hashes.insert(with([](Directive& d) { d.from = 4; }));
  hashes.insert(with([](Directive& d) { d.through = 10; }));
  hashes.insert(with([](Directive& d) { d.phase = 3; }));
  hashes.insert(with([](Directive& d) { d.sets.push_back(d.sets[0]); }));
  hashes.insert(with([](Directive& d) { d.sets[0].entries[0].tensor = 0; }));
  hashes.insert(with([](Directive& d) { d.sets[0].entries[0].rows.end = 64; }));
  hashes.insert(with([](Directive& d) { d.sets[0].entries[0].role = Role::kProbe; }));
  hashes.insert(with([](Directive& d) { d.sets[0].entries[0].rule = 1; }));
  hashes.insert(with([](Directive& d) { d.sets[0].entries[0].lr_scale = 0.5f; }));
  hashes.insert(with([](Directive& d) { d.probe_candidates.pop_back(); }));
  hashes.insert(with([](Directive& d) { d.probes_per_step = 1; }));
  EXPECT_EQ(hashes.size(), 13u);
}

TEST(Directive, ProbesAreDrawnWithoutReplacementAndSorted) {
  std::set<std::string> drawn;
  for (int64_t step = 3; step < 30; ++step) {
    const ActiveSet set = ActiveSetFor(Example(), 0, step, 5, Table());
    ASSERT_EQ(set.entries.size(), 3u);
    EXPECT_TRUE(Validate(set, Table()).ok());
    EXPECT_EQ(set, ActiveSetFor(Example(), 0, step, 5, Table()));
    drawn.insert(set.Text());
  }
  EXPECT_EQ(drawn.size(), 3u);  // pairs of three candidates
}

}  // namespace
}  // namespace blockstep
