#include "launcher/commands/tokenize/tokenize.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "launcher/cli/exit_codes.h"
#include "launcher/commands/command.h"
#include "launcher/commands/tokenize/spm_process.h"

namespace blockstep {
namespace {

using ::testing::HasSubstr;

const std::string kModel = BLOCKSTEP_SOURCE_DIR "/deploy/data/c4_tiny/tokenizer.model";
constexpr int32_t kBos = 1, kEos = 2;

std::string Temp(const std::string& name) {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  return ::testing::TempDir() + "blockstep_tokenize_" + info->name() + "_" + name;
}

std::string WriteText(const std::string& name, const std::string& text) {
  std::ofstream(Temp(name), std::ios::binary | std::ios::trunc) << text;
  return Temp(name);
}

// What a shell command prints.
std::string Output(const std::string& command) {
  std::string out;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  char chunk[4096];
  for (size_t got; (got = std::fread(chunk, 1, sizeof(chunk), pipe)) > 0;) out.append(chunk, got);
  EXPECT_EQ(::pclose(pipe), 0) << command;
  return out;
}

std::vector<int32_t> Ids(const std::string& text) {
  std::istringstream in(text);
  std::vector<int32_t> ids;
  for (int32_t id; in >> id;) ids.push_back(id);
  return ids;
}

std::vector<int32_t> ReadTokens(const std::string& path, TokenLayout layout = TokenLayout::kLlmc) {
  const auto file = TokenFile::Open({.path = path, .layout = layout, .vocab_size = 2048});
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return {};
  std::vector<int32_t> ids(file->tokens());
  EXPECT_TRUE(file->Read(0, absl::MakeSpan(ids)).ok());
  return ids;
}

const std::vector<std::string>& Lines() {
  static const auto* lines = new std::vector<std::string>{
      "The quick brown fox jumps over the lazy dog.", "  two spaces,  and  more ",
      "\u00e9t\u00e9 \u4f60\u597d \U0001F600 \u00a31,234.50", "<s> </s> <0x41>", "a\tb"};
  return *lines;
}

absl::Status TokenizeTo(const std::string& out, const std::vector<std::string>& files,
                        TokenizeOptions options = {}) {
  ::unlink(out.c_str());
  options.model = kModel;
  options.files = files;
  options.out = out;
  options.spm = BLOCKSTEP_SPM;
  std::ostringstream report;
  return Tokenize(options, report);
}

// The same ids as SentencePiece's own program, EOS after each document.
TEST(Tokenize, AgreesWithSpmEncode) {
  std::string text;
  for (const std::string& line : Lines()) text += line + "\n";
  const std::string in = WriteText("in.txt", text), out = Temp("out.bin");
  const absl::Status status = TokenizeTo(out, {in}, {.separator = "\n"});
  ASSERT_TRUE(status.ok()) << status;
  std::istringstream oracle(
      Output("spm_encode --model=" + kModel + " --output_format=id < " + in + " 2>/dev/null"));
  std::vector<int32_t> wanted;
  for (std::string line; std::getline(oracle, line);) {
    const std::vector<int32_t> ids = Ids(line);
    wanted.insert(wanted.end(), ids.begin(), ids.end());
    wanted.push_back(kEos);
  }
  EXPECT_GT(wanted.size(), 50u);
  EXPECT_EQ(ReadTokens(out), wanted);
}

// Decoding gives the text back byte for byte: nothing is normalised away.
TEST(Tokenize, TextSurvivesTheRoundTrip) {
  auto spm = SpmProcess::Start(BLOCKSTEP_SPM, kModel);
  ASSERT_TRUE(spm.ok()) << spm.status();
  EXPECT_EQ(spm->hello().vocab_size, 2048);
  EXPECT_EQ(spm->hello().bos, kBos);
  EXPECT_EQ(spm->hello().eos, kEos);
  std::vector<std::string> texts = Lines();
  texts.push_back("line one\n\n  indented\r\nlast");
  for (const std::string& text : texts) {
    const auto ids = spm->Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    std::string line;
    for (const int32_t id : *ids) line += std::to_string(id) + " ";
    const std::string in = WriteText("ids.txt", line + "\n");
    EXPECT_EQ(
        Output("spm_decode --model=" + kModel + " --input_format=id < " + in + " 2>/dev/null"),
        text + "\n");
  }
}

TEST(Tokenize, RawFormatAndBos) {
  const std::string in = WriteText("in.txt", "a<E>b"), out = Temp("out.raw");
  ASSERT_TRUE(
      TokenizeTo(out, {in}, {.layout = TokenLayout::kRawUint16, .separator = "<E>", .bos = true})
          .ok());
  const std::vector<int32_t> ids = ReadTokens(out, TokenLayout::kRawUint16);
  EXPECT_EQ(ids.front(), kBos);
  EXPECT_EQ(ids.back(), kEos);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kBos), 2);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kEos), 2);
}

// Held-out documents and the rest are together all documents, and the share is kept to the
// document.
TEST(Tokenize, HoldsOutAShare) {
  std::string text;
  for (int i = 0; i < 50; ++i) text += "document " + std::to_string(i) + "\n";
  const std::string in = WriteText("in.txt", text), out = Temp("out.bin"), val = Temp("val.bin");
  ::unlink(val.c_str());
  ASSERT_TRUE(TokenizeTo(out, {in}, {.val_out = val, .val_fraction = 0.1, .separator = "\n"}).ok());
  const auto train_ids = ReadTokens(out), val_ids = ReadTokens(val);
  EXPECT_EQ(std::count(train_ids.begin(), train_ids.end(), kEos), 45);
  EXPECT_EQ(std::count(val_ids.begin(), val_ids.end(), kEos), 5);
}

TEST(Tokenize, ErrorsLeaveNoFile) {
  const std::string in = WriteText("in.jsonl", "{\"text\": \"a\"}\n{\"txt\": 1}\n");
  const std::string out = Temp("out.bin");
  const absl::Status status = TokenizeTo(out, {in});
  EXPECT_THAT(std::string(status.message()), HasSubstr(in + ":2: "));
  EXPECT_NE(::access(out.c_str(), F_OK), 0);
}

TEST(Tokenize, RefusesToReplaceUnlessAsked) {
  const std::string in = WriteText("in.txt", "a"), out = Temp("out.bin");
  ASSERT_TRUE(TokenizeTo(out, {in}).ok());
  TokenizeOptions options = {.model = kModel, .files = {in}, .out = out, .spm = BLOCKSTEP_SPM};
  std::ostringstream report;
  EXPECT_EQ(Tokenize(options, report).code(), absl::StatusCode::kAlreadyExists);
  options.overwrite = true;
  EXPECT_TRUE(Tokenize(options, report).ok());
  EXPECT_THAT(report.str(), HasSubstr("1 documents, 2 tokens (uint16, vocabulary 2048, EOS 2)"));
}

TEST(Tokenize, OneFileForTwoThingsIsRefusedBeforeItIsWritten) {
  const std::string in = WriteText("in.txt", "a\nb\nc\nd"), out = Temp("out.bin");
  const std::string folder = ::testing::TempDir();
  for (const std::string& val : {out, folder + "./" + out.substr(folder.size())}) {
    const absl::Status same =
        TokenizeTo(out, {in}, {.val_out = val, .val_fraction = 0.5, .separator = "\n"});
    EXPECT_EQ(same.code(), absl::StatusCode::kInvalidArgument) << same;
    EXPECT_THAT(std::string(same.message()), HasSubstr("the same file"));
    EXPECT_NE(::access(out.c_str(), F_OK), 0);
  }
  const std::string link = Temp("link.txt");
  ::unlink(link.c_str());
  ASSERT_EQ(::link(in.c_str(), link.c_str()), 0);
  const TokenizeOptions over = {
      .model = kModel, .files = {in}, .out = link, .overwrite = true, .spm = BLOCKSTEP_SPM};
  std::ostringstream report;
  EXPECT_THAT(std::string(Tokenize(over, report).message()), HasSubstr("is also an input"));
}

TEST(Tokenize, BadModelAndMissingProgram) {
  EXPECT_EQ(SpmProcess::Start("/nonexistent/blockstep-spm", kModel).status().code(),
            absl::StatusCode::kNotFound);
  const std::string bad = WriteText("bad.model", "not a model");
  EXPECT_THAT(std::string(SpmProcess::Start(BLOCKSTEP_SPM, bad).status().message()),
              HasSubstr(bad));
}

// A program that ends in the middle is an error here, not SIGPIPE.
TEST(Tokenize, ProgramThatDies) {
  const std::string program = WriteText("dies.sh",
                                        "#!/bin/sh\nprintf 'SPM1\\0\\10\\0\\0'\n"
                                        "printf '\\1\\0\\0\\0\\2\\0\\0\\0'\n");
  ASSERT_EQ(::chmod(program.c_str(), 0755), 0);
  auto spm = SpmProcess::Start(program, kModel);
  ASSERT_TRUE(spm.ok()) << spm.status();
  EXPECT_FALSE(spm->Encode(std::string(1 << 22, 'a')).ok());
}

// Flags as a person types them.
TEST(TokenizeCommand, FlagsAndExitCodes) {
  const auto run = [](std::vector<std::string> words) {
    words.insert(words.begin(), "tokenize");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    return TokenizeCommand(static_cast<int>(argv.size()), argv.data());
  };
  const std::string in = WriteText("in.txt", "a\nb"), out = Temp("out.raw");
  ::unlink(out.c_str());
  EXPECT_EQ(run({"--help"}), kExitOk);
  EXPECT_EQ(run({"--nonsense"}), kExitUsage);
  EXPECT_EQ(run({"--model", kModel, "--out", out, "--spm", BLOCKSTEP_SPM, "--format", "raw",
                 "--txt-split", "\\n", in}),
            kExitOk);
  const auto ids = ReadTokens(out, TokenLayout::kRawUint16);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kEos), 2);
  EXPECT_EQ(run({"--model", kModel, "--out", out, "--spm", BLOCKSTEP_SPM, in}), kExitBadInput);
}

}  // namespace
}  // namespace blockstep
