#include "launcher/train/metrics/data_ledger.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace blockstep {
namespace {

// A place that cannot be written is the disk's matter, not a lost coordinator's, which a scheduler
// would answer by starting again.
TEST(DataLedger, AFolderThatCannotBeIsAMatterOfResources) {
  const std::string path = testing::TempDir() + "ledger-" + std::to_string(getpid());
  std::ofstream(path) << "a file";
  for (const std::string& folder : {path, path + "/ledger"}) {
    const absl::Status status = DataLedger::Open({.folder = folder, .ranks = 1}).status();
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_NE(std::string(status.message()).find(folder), std::string::npos) << status;
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace blockstep
