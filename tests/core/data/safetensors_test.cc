#include "core/data/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "core/base/check.h"
#include "core/base/str.h"

namespace blockstep {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SafetensorsTest : public ::testing::Test {
 protected:
  SafetensorsTest()
      : folder_(::testing::TempDir() +
                Cat("safetensors-", ::getpid(), "-",
                    ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~SafetensorsTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  void Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(Path(name), std::ios::binary) << bytes;
  }
  // A file with this header text and `data` after it.
  std::string File(const std::string& header, const std::string& data) const {
    const uint64_t length = header.size();
    return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
  }
  std::string ErrorOf(const std::string& bytes) const {
    Write("x.safetensors", bytes);
    const auto file = SafetensorsFile::Open(Path("x.safetensors"));
    return file.ok() ? "" : std::string(file.status().message());
  }
  std::string folder_;
};

std::string Halves(std::vector<uint16_t> words) {
  return {reinterpret_cast<const char*>(words.data()), words.size() * 2};
}

// The values of each tensor by its name, as a file.
std::string FileOf(std::vector<SafetensorsEntry> tensors,
                   const std::function<std::vector<float>(const SafetensorsEntry&)>& values) {
  const SafetensorsLayout layout = MakeSafetensorsLayout(std::move(tensors));
  std::string bytes = layout.header;
  bytes.resize(static_cast<size_t>(layout.file_bytes));
  for (const SafetensorsEntry& e : layout.entries) {
    const std::vector<float> v = values(e);
    CHECK_EQ(static_cast<int64_t>(v.size()) * 4, e.bytes);
    if (!v.empty()) std::memcpy(bytes.data() + e.offset, v.data(), v.size() * 4);
  }
  return bytes;
}

TEST_F(SafetensorsTest, RowsAreReadByNameAndRange) {
  std::vector<float> a(5 * 3), b(4);
  for (size_t i = 0; i < a.size(); ++i) a[i] = 0.5f * static_cast<float>(i);
  for (size_t i = 0; i < b.size(); ++i) b[i] = -1.0f * static_cast<float>(i);
  Write("model.safetensors",
        FileOf({{.name = "z.a", .dtype = "F32", .shape = {5, 3}},
                {.name = "b", .dtype = "F32", .shape = {4}},
                {.name = "empty", .dtype = "F32", .shape = {0, 3}}},
               [&](const SafetensorsEntry& e) {
                 return e.name == "z.a" ? a : e.name == "b" ? b : std::vector<float>();
               }));
  const std::string path = Path("model.safetensors");
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->entries().size(), 3u);
  EXPECT_EQ(file->entries()[0].name, "b");
  EXPECT_EQ(file->Find("z.a")->shape, (std::vector<int64_t>{5, 3}));
  EXPECT_EQ(file->Find("z"), nullptr);
  std::vector<float> rows(2 * 3);
  ASSERT_TRUE(file->ReadRows("z.a", {1, 3}, rows.data()).ok());
  EXPECT_EQ(rows, std::vector<float>(a.begin() + 3, a.begin() + 9));
  std::vector<float> all(4);
  ASSERT_TRUE(file->ReadRows("b", {0, 4}, all.data()).ok());
  EXPECT_EQ(all, b);
  EXPECT_TRUE(file->ReadRows("empty", {0, 0}, nullptr).ok());
  EXPECT_THAT(std::string(file->ReadRows("c", {0, 0}, nullptr).message()),
              HasSubstr("no tensor c"));
}

TEST_F(SafetensorsTest, HeaderIsPaddedAndNamesTheFormat) {
  const SafetensorsLayout layout =
      MakeSafetensorsLayout({{.name = "t", .dtype = "BF16", .shape = {3}}});
  EXPECT_EQ(layout.header.size() % 64, 0u);
  EXPECT_THAT(layout.header, HasSubstr(R"("__metadata__":{"format":"pt"})"));
  EXPECT_EQ(layout.file_bytes, static_cast<int64_t>(layout.header.size()) + 6);
}

TEST_F(SafetensorsTest, NarrowDTypesWiden) {
  const std::string header = R"({"h":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},)"
                             R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[12,18]},)"
                             R"("i":{"dtype":"I32","shape":[1],"data_offsets":[18,22]}})";
  Write("x", File(header, Halves({0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x7c00}) +
                              Halves({0x3f80, 0xc049, 0x0001}) + "abcd"));
  const auto file = SafetensorsFile::Open(Path("x"));
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<float> h(6), tail(3), b(3);
  ASSERT_TRUE(file->ReadRows("h", {0, 2}, h.data()).ok());
  EXPECT_EQ(h, (std::vector<float>{1, -2, 65504, 0x1p-24f, -0.0f, INFINITY}));
  EXPECT_TRUE(std::signbit(h[4]));
  ASSERT_TRUE(file->ReadRows("h", {1, 2}, tail.data()).ok());
  EXPECT_EQ(tail[0], 0x1p-24f);
  ASSERT_TRUE(file->ReadRows("b", {0, 3}, b.data()).ok());
  EXPECT_EQ(b, (std::vector<float>{1.0f, -3.140625f, std::bit_cast<float>(0x00010000u)}));
  EXPECT_THAT(std::string(file->ReadRows("i", {0, 1}, b.data()).message()),
              AllOf(HasSubstr("tensor i"), HasSubstr("I32"), HasSubstr("expected dtype F32")));
}

// Every half against the value its fields define.
TEST_F(SafetensorsTest, EveryHalf) {
  for (uint32_t word = 0; word < 65536; ++word) {
    const float found = HalfToFloat(static_cast<uint16_t>(word));
    const int exponent = (word >> 10) & 31, mantissa = word & 1023;
    const float sign = (word & 0x8000) != 0 ? -1.0f : 1.0f;
    if (exponent == 31) {
      EXPECT_TRUE(mantissa != 0 ? std::isnan(found) : found == sign * INFINITY);
    } else {
      const float wanted = exponent == 0
                               ? std::ldexp(static_cast<float>(mantissa), -24)
                               : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
      ASSERT_EQ(found, sign * wanted) << word;
    }
  }
}

TEST_F(SafetensorsTest, HostileHeaders) {
  const std::string eight(8, 'x');
  const auto entry = [](const char* dtype, const char* shape, const char* offsets) {
    return Cat(R"({"t":{"dtype":")", dtype, R"(","shape":)", shape, R"(,"data_offsets":)", offsets,
               "}}");
  };
  EXPECT_EQ(ErrorOf(File(entry("F32", "[2]", "[0,8]"), eight)), "");
  const struct {
    const char *dtype, *shape, *offsets, *error;
  } kBad[] = {
      {"F32", "[3]", "[0,12]", "data ends at 12"},
      {"F32", "[2]", "[0,18446744073709551615]", "data_offsets"},
      {"F32", "[2]", "[-8,0]", "data_offsets"},
      {"F32", "[2]", "[8,0]", "data_offsets"},
      {"F32", "[2]", "[0,8,8]", "two data_offsets"},
      {"F32", "[2]", "[0.0,8.0]", "data_offsets"},
      {"F32", "[1]", "[0,8]", "expected 4 bytes of data for F32"},
      {"F32", "[-2]", "[0,8]", "expected -1 bytes"},
      {"F32", "[\"2\"]", "[0,8]", "expected -1 bytes"},
      {"F32", "[4611686018427387904,4]", "[0,8]", "expected -1 bytes"},
      {"F32", "[4611686018427387904,4]", "[0,0]", "expected -1 bytes"},
      {"F32", "[0,4611686018427387904,4]", "[0,0]", "expected -1 bytes"},
      {"F31", "[2]", "[0,8]", "unknown dtype 'F31'"},
      {"F32", "2", "[0,8]", "expected dtype, shape"},
      {"F32", "[1]", "[4,8]", "hole"},
      {"F32", "[1]", "[0,4]", "expected 4 bytes of data after the header, got 8"},
  };
  for (const auto& bad : kBad) {
    EXPECT_THAT(ErrorOf(File(entry(bad.dtype, bad.shape, bad.offsets), eight)),
                AllOf(HasSubstr("x.safetensors"), HasSubstr(bad.error)))
        << bad.shape << bad.offsets;
  }
  EXPECT_THAT(ErrorOf(File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                           R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                           eight)),
              HasSubstr("overlap"));
  for (const char* text :
       {"", "[]", "{", "3", R"({"t":3})", R"({"t":{}})", R"({"t":[1,2]})", "\xff"}) {
    EXPECT_NE(ErrorOf(File(text, "")), "") << text;
  }
  EXPECT_THAT(ErrorOf("abc"), HasSubstr("expected at least 8 bytes, got 3"));
  EXPECT_THAT(ErrorOf(std::string("\x00\x00\x00\x00\x00\x00\x00\x7f", 8)),
              HasSubstr("is this a safetensors file"));
  EXPECT_THAT(ErrorOf(std::string("\x40\x00\x00\x00\x00\x00\x00\x00{}", 10)),
              HasSubstr("expected a header of 64 bytes, got a file of 10"));
  EXPECT_THAT(ErrorOf(File(std::string(1000000, '['), "")), HasSubstr("levels of nesting"));
  EXPECT_THAT(ErrorOf(File("[]", "")), HasSubstr("expected a JSON object"));
  // Readers differ in which of two they take.
  const std::string tensor = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  EXPECT_THAT(ErrorOf(File(R"({"t":)" + tensor + R"(,"t":)" + tensor + "}", "1234")),
              HasSubstr("x.safetensors: header: expected each key once, got \"t\" twice"));
  EXPECT_THAT(ErrorOf(File(R"({"t\u001b[2J":3})", "")), HasSubstr("tensor t\\x1b[2J: "));
  EXPECT_FALSE(SafetensorsFile::Open(folder_).ok());
  EXPECT_FALSE(SafetensorsFile::Open(Path("absent")).ok());
}

// Cutting a good file anywhere is an error at Open, never a crash.
TEST_F(SafetensorsTest, CutShort) {
  const std::string good =
      File(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "12345678");
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(ErrorOf(good.substr(0, size)), "") << size;
  }
  Write("x", good);
  const auto file = SafetensorsFile::Open(Path("x"));
  ASSERT_TRUE(file.ok());
  std::filesystem::resize_file(Path("x"), good.size() - 1);
  float out[2];
  EXPECT_THAT(std::string(file->ReadRows("t", {0, 2}, out).message()),
              HasSubstr("truncated: expected"));
}

TensorTable TwoTensors(bool tied) {
  TensorTable table;
  table.tensors = {{.name = "m", .rows = 2, .cols = 2},
                   {.name = "n", .rows = 3, .cols = 1, .vector = true}};
  table.tied = tied;
  return table;
}

void WriteFile(const std::string& path, std::vector<SafetensorsEntry> entries, float value) {
  std::ofstream(path, std::ios::binary)
      << FileOf(std::move(entries), [value](const SafetensorsEntry& e) {
           return std::vector<float>(static_cast<size_t>(e.bytes / 4), value);
         });
}
SafetensorsEntry Entry(const std::string& name, std::vector<int64_t> shape) {
  return {.name = name, .dtype = "F32", .shape = std::move(shape)};
}

TEST_F(SafetensorsTest, ShardedFolder) {
  WriteFile(Path("model-00001-of-00002.safetensors"), {Entry("m", {2, 2})}, 1.0f);
  WriteFile(Path("model-00002-of-00002.safetensors"), {Entry("n", {3})}, 2.0f);
  EXPECT_FALSE(SafetensorsFolder::Open(folder_).ok());  // no index yet
  Write("model.safetensors.index.json",
        R"({"metadata":{},"weight_map":{"m":"model-00001-of-00002.safetensors",)"
        R"("n":"model-00002-of-00002.safetensors"}})");
  const auto folder = SafetensorsFolder::Open(folder_);
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_TRUE(folder->Matches(TwoTensors(false)).ok()) << folder->Matches(TwoTensors(false));
  float value[2];
  ASSERT_TRUE(folder->ReadRows("n", {1, 3}, value).ok());
  EXPECT_EQ(value[1], 2.0f);
  ASSERT_TRUE(folder->ReadRows("m", {1, 2}, value).ok());
  EXPECT_EQ(value[0], 1.0f);
}

TEST_F(SafetensorsTest, HostileIndex) {
  WriteFile(Path("a.safetensors"), {Entry("m", {2, 2})}, 1.0f);
  for (const char* index :
       {"", "{}", R"({"weight_map":[]})", R"({"weight_map":{"m":3}})",
        R"({"weight_map":{"m":"../a.safetensors"}})", R"({"weight_map":{"m":"/etc/passwd"}})",
        R"({"weight_map":{"x":"a.safetensors"}})", R"({"weight_map":{"m":"b.safetensors"}})",
        R"({"weight_map":{"m":"a.safetensors","m":"a.safetensors"}})"}) {
    Write("model.safetensors.index.json", index);
    EXPECT_FALSE(SafetensorsFolder::Open(folder_).ok()) << index;
  }
}

// None of these is opened, so none is waited for.
TEST_F(SafetensorsTest, OnlyRegularFilesAreRead) {
  ASSERT_EQ(::mkfifo(Path("model.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(std::string(SafetensorsFolder::Open(folder_).status().message()),
              HasSubstr("model.safetensors: expected a regular file, got a pipe"));
  std::filesystem::rename(Path("model.safetensors"), Path("model.safetensors.index.json"));
  EXPECT_THAT(std::string(SafetensorsFolder::Open(folder_).status().message()),
              HasSubstr("index.json: expected a regular file, got a pipe"));
}

TEST_F(SafetensorsTest, AMillionUnexpectedTensorsAreNoMillionLines) {
  std::vector<SafetensorsEntry> entries;
  for (int i = 0; i < 1000; ++i) entries.push_back(Entry(Cat("extra", i).c_str(), {1}));
  WriteFile(Path("model.safetensors"), entries, 0.0f);
  const auto folder = SafetensorsFolder::Open(folder_);
  ASSERT_TRUE(folder.ok()) << folder.status();
  const std::string text(folder->Matches(TwoTensors(false)).message());
  EXPECT_THAT(text, AllOf(HasSubstr("missing: n"), HasSubstr("unexpected: extra0\n"),
                          HasSubstr("and 980 more that are unexpected")));
}

TEST_F(SafetensorsTest, DifferencesByName) {
  WriteFile(Path("model.safetensors"),
            {Entry("m", {2, 3}), Entry("extra", {1}), Entry("lm_head.weight", {1}),
             Entry("model.layers.0.self_attn.rotary_emb.inv_freq", {4})},
            0.0f);
  const auto folder = SafetensorsFolder::Open(folder_);
  ASSERT_TRUE(folder.ok()) << folder.status();
  const std::string untied(folder->Matches(TwoTensors(false)).message());
  EXPECT_THAT(untied,
              AllOf(HasSubstr("missing: n"), HasSubstr("m: expected shape [2,2], got [2,3]"),
                    HasSubstr("unexpected: extra"), HasSubstr("unexpected: lm_head.weight"),
                    ::testing::Not(HasSubstr("inv_freq"))));
  const std::string tied(folder->Matches(TwoTensors(true)).message());
  EXPECT_THAT(tied, ::testing::Not(HasSubstr("lm_head")));
}

}  // namespace
}  // namespace blockstep
