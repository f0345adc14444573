// The memory lines at the end of a run: short at any number of processes.
#include <gtest/gtest.h>

#include <sstream>

#include "launcher/train/plan/memory_check.h"

namespace blockstep {
namespace {

constexpr int64_t kMib = 1 << 20;

// Process i peaks at 100 + i MiB, but for number 3, which has the largest peak.
std::vector<ProcessMemory> Processes(int n, int64_t scale = 1) {
  std::vector<ProcessMemory> processes;
  for (int i = 0; i < n; ++i) {
    processes.push_back({.rank = i,
                         .planned = 51 * kMib * scale,
                         .arena = 50 * kMib * scale,
                         .peak = (i == 3 ? 4000 : 100 + i) * kMib * scale});
  }
  return processes;
}

TEST(MemoryText, NamesNoRankWhereThereIsOneProcess) {
  EXPECT_EQ(MemoryText(Processes(1)), "memory: 50.0 of 51.0 MiB planned, process peak 100.0 MiB");
}

TEST(MemoryText, HasALinePerProcessForUpToFour) {
  EXPECT_EQ(MemoryText(Processes(2)),
            "memory: rank 0: 50.0 of 51.0 MiB planned, process peak 100.0 MiB\n"
            "memory: rank 1: 50.0 of 51.0 MiB planned, process peak 101.0 MiB");
}

TEST(MemoryText, HasOneLineOfTheLargestProcessForMore) {
  EXPECT_EQ(MemoryText(Processes(5)),
            "memory: largest of 5 processes, rank 3: 50.0 of 51.0 MiB planned, "
            "process peak 4000.0 MiB");
}

TEST(MemoryText, FitsIntoAHundredColumns) {
  for (const int n : {1, 2, 3, 4, 5, 8, 64, 999}) {
    std::istringstream lines(MemoryText(Processes(n, 100)));  // up to 400 GB a process
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  }
}

}  // namespace
}  // namespace blockstep
