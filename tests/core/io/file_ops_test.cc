#include "core/io/file_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/base/status.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FileOpsTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_);
    alarm(60);  // a test that hangs is what these are about; none waits for it
  }
  void TearDown() override {
    alarm(0);
    fs::remove_all(folder_);
  }
  std::string Path(const std::string& name) const { return folder_ + name; }
  static std::string Content(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static mode_t ModeOf(const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(stat(path.c_str(), &info), 0);
    return info.st_mode & 0777;
  }
  const std::string folder_ = testing::TempDir() + "file_ops-" + std::to_string(getpid()) + "/";
};

TEST_F(FileOpsTest, InputsAreRegularFilesAndNothingElseIsOpened) {
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  fs::create_symlink(Path("pipe"), Path("link to a pipe"));
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(name.sun_path, Path("socket").c_str(), sizeof name.sun_path - 1);
  ASSERT_EQ(bind(socket, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  const std::pair<std::string, std::string> cases[] = {
      {Path("pipe"), "a pipe"},  {Path("link to a pipe"), "a pipe"}, {Path("socket"), "a socket"},
      {"/dev/zero", "a device"}, {"/dev/tty", "a device"},           {folder_, "a folder"}};
  for (const auto& [path, kind] : cases) {
    const absl::Status status = ReadSmall(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << path;
    EXPECT_EQ(Std(status.message()), Cat(path, ": expected a regular file, got ", kind));
  }
  close(socket);
}

TEST_F(FileOpsTest, WhatIsNotThereIsNamed) {
  fs::create_symlink(Path("b"), Path("a"));
  fs::create_symlink(Path("a"), Path("b"));
  for (const std::string& path : {Path("none"), Path("a"), Path(std::string(300, 'x')),
                                  std::string("/dev/null/x"), std::string()}) {
    const absl::Status status = ReadSmall(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("cannot read " + path + ": "));
  }
}

TEST_F(FileOpsTest, AFileBeyondTheLimitIsNotRead) {
  std::ofstream(Path("large")).close();
  fs::resize_file(Path("large"), uintmax_t{1} << 40);  // no blocks: it has no content, only size
  const absl::Status status = ReadSmall(Path("large"), 1000).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("large: expected at most 1000 bytes, got 1099511627776"));
  fs::resize_file(Path("large"), 1000);
  EXPECT_EQ(ReadSmall(Path("large"), 1000).value(), std::string(1000, '\0'));
}

TEST_F(FileOpsTest, APrivateFileIsItsOwnersWhateverWasThere) {
  umask(022);
  std::ofstream(Path("key")) << "old";
  fs::permissions(Path("key"), fs::perms(0644));
  std::ofstream(Path("key.tmp")) << "left behind, and open to others";
  fs::permissions(Path("key.tmp"), fs::perms(0666));
  ASSERT_TRUE(FileOps().ReplaceSmall(Path("key"), "new", FileMode::kPrivate).ok());
  EXPECT_EQ(ModeOf(Path("key")), 0600u);
  EXPECT_EQ(Content(Path("key")), "new");
  EXPECT_FALSE(fs::exists(Path("key.tmp")));
  ASSERT_TRUE(FileOps().ReplaceSmall(Path("text"), "new").ok());
  EXPECT_EQ(ModeOf(Path("text")), 0644u);
}

// An error at any operation leaves the old text, and nothing beside it; that of the folder's fsync
// comes after the new one is in place.
TEST_F(FileOpsTest, AReplaceIsWholeOrHasNotBeen) {
  std::vector<FileOpKind> kinds;
  std::ofstream(Path("file")) << "old";
  const FileOps recorded([&](const FileOp& op) {
    kinds.push_back(op.kind);
    return absl::OkStatus();
  });
  ASSERT_TRUE(recorded.ReplaceSmall(Path("file"), "new").ok());
  EXPECT_THAT(kinds,
              testing::ElementsAre(FileOpKind::kCreate, FileOpKind::kWrite, FileOpKind::kFsync,
                                   FileOpKind::kRename, FileOpKind::kFsyncFolder));
  for (size_t bad = 0; bad < kinds.size(); ++bad) {
    std::ofstream(Path("file")) << "old";
    size_t at = 0;
    const FileOps failing(
        [&](const FileOp&) { return at++ == bad ? ResourceExhausted("full") : absl::OkStatus(); });
    EXPECT_FALSE(failing.ReplaceSmall(Path("file"), "new").ok());
    EXPECT_EQ(Content(Path("file")), bad + 1 == kinds.size() ? "new" : "old") << bad;
    EXPECT_FALSE(fs::exists(Path("file.tmp"))) << bad;
  }
}

TEST_F(FileOpsTest, ReplacesANameWithoutAFolder) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  EXPECT_TRUE(FileOps().ReplaceSmall("bare", "text").ok());
  fs::current_path(before);
  EXPECT_EQ(Content(Path("bare")), "text");
}

}  // namespace
}  // namespace blockstep
