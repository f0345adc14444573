// Limits of control groups from trees as Linux shows them.
#include "launcher/machine/cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "launcher/machine/process_memory.h"

namespace blockstep {
namespace {

constexpr int64_t kGib = int64_t{1} << 30;

class Cgroup : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = ::testing::TempDir() + "blockstep_" +
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Groups(const std::string& lines) { Put("proc/self/cgroup", lines); }
  void Mount(const std::string& file, const std::string& text) {
    Put("sys/fs/cgroup/" + file, text + "\n");
  }
  void Put(const std::string& file, const std::string& text) {
    const std::filesystem::path path = std::filesystem::path(root_) / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

  std::string root_;
};

TEST_F(Cgroup, NothingThereIsNoLimit) {
  const CgroupLimits none = ReadCgroupLimits(root_);
  EXPECT_EQ(none.cpus, std::numeric_limits<double>::infinity());
  EXPECT_EQ(none.memory_bytes, 0);
  EXPECT_EQ(MachineMemory(root_).bytes, 0);
}

TEST_F(Cgroup, Version2TakesTheSmallestAmongThoseAbove) {
  Groups("0::/slurm/job_1/step_0\n");
  Mount("slurm/job_1/step_0/cpu.max", "max 100000");
  Mount("slurm/job_1/step_0/memory.max", "8589934592");
  Mount("slurm/job_1/cpu.max", "250000 100000");
  Mount("slurm/job_1/memory.max", "4294967296");
  Mount("slurm/cpu.max", "400000 100000");
  Mount("slurm/memory.max", "max");
  // A neighbour's is not ours.
  Mount("slurm/job_2/cpu.max", "1000 100000");
  Mount("slurm/job_2/memory.max", "1");
  const CgroupLimits limits = ReadCgroupLimits(root_);
  EXPECT_EQ(limits.cpus, 2.5);
  EXPECT_EQ(limits.memory_bytes, 4 * kGib);
  EXPECT_EQ(limits.memory_group, "/slurm/job_1");
}

TEST_F(Cgroup, Version2OfAContainer) {
  // With a namespace the container is the root; without one its path is not to be seen inside.
  for (const char* groups : {"0::/\n", "0::/../..\n", "0::/docker/0123\n"}) {
    Groups(groups);
    Mount("cpu.max", "150000 100000");
    Mount("memory.max", "1073741824");
    const CgroupLimits limits = ReadCgroupLimits(root_);
    EXPECT_EQ(limits.cpus, 1.5) << groups;
    EXPECT_EQ(limits.memory_bytes, kGib) << groups;
    EXPECT_EQ(limits.memory_group, "/") << groups;
  }
}

TEST_F(Cgroup, Version1HasAPathPerController) {
  Groups("9:name=systemd:/\n4:memory:/jobs/a\n2:cpu,cpuacct:/shares/b\n0::/\n");
  Mount("memory/memory.limit_in_bytes", "9223372036854771712");
  Mount("memory/jobs/memory.limit_in_bytes", "2147483648");
  Mount("memory/jobs/a/memory.limit_in_bytes", "3221225472");
  Mount("memory/shares/b/memory.limit_in_bytes", "1");  // not its path
  Mount("cpu/cpu.cfs_quota_us", "-1");
  Mount("cpu/cpu.cfs_period_us", "100000");
  Mount("cpu/shares/b/cpu.cfs_quota_us", "300000");
  Mount("cpu/shares/b/cpu.cfs_period_us", "100000");
  const CgroupLimits limits = ReadCgroupLimits(root_);
  EXPECT_EQ(limits.cpus, 3);
  EXPECT_EQ(limits.memory_bytes, 2 * kGib);
  EXPECT_EQ(limits.memory_group, "/jobs");
}

TEST_F(Cgroup, Version2BesideVersion1) {
  Groups("4:memory:/\n0::/a\n");
  Mount("memory/memory.limit_in_bytes", "9223372036854771712");
  Mount("unified/a/cpu.max", "50000 100000");
  const CgroupLimits limits = ReadCgroupLimits(root_);
  EXPECT_EQ(limits.cpus, 0.5);
  EXPECT_EQ(limits.memory_bytes, 0);
}

TEST_F(Cgroup, MemoryIsTheMachinesWhereThatIsLess) {
  Put("proc/meminfo", "MemTotal:        2097152 kB\nMemFree: 1 kB\n");
  Groups("0::/a\n");
  Mount("a/memory.max", "4294967296");
  EXPECT_EQ(MachineMemory(root_).bytes, 2 * kGib);
  EXPECT_EQ(MachineMemory(root_).source, "this machine");
  Mount("a/memory.max", "1073741824");
  EXPECT_EQ(MachineMemory(root_).bytes, kGib);
  EXPECT_EQ(MachineMemory(root_).source, "the cgroup /a");
}

}  // namespace
}  // namespace blockstep
