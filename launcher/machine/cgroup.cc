#include "launcher/machine/cgroup.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace blockstep {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNoBytes = int64_t{1} << 62;  // version 1 writes "no limit" as a number near 2^63

// "max" and what cannot be read: 0.
int64_t Number(const fs::path& file) {
  int64_t number = 0;
  std::ifstream(file) >> number;
  return number;
}

void Cpus(double quota, double period, CgroupLimits& limits) {
  if (quota > 0 && period > 0) limits.cpus = std::min(limits.cpus, quota / period);
}

void Memory(int64_t bytes, const fs::path& group, CgroupLimits& limits) {
  if (bytes <= 0 || bytes >= kNoBytes) return;
  if (limits.memory_bytes > 0 && limits.memory_bytes <= bytes) return;
  limits.memory_bytes = bytes;
  limits.memory_group = group.string();
}

// `group` and all above it, "/" last. A group outside of the namespace is written as "/../x".
template <typename Read>
void Upwards(const fs::path& mount, const std::string& group, const Read& read) {
  for (fs::path at = fs::path(group).lexically_normal();; at = at.parent_path()) {
    read(mount / at.relative_path(), at);
    if (!at.has_relative_path()) return;
  }
}

void Version2(const fs::path& mount, const std::string& group, CgroupLimits& limits) {
  Upwards(mount, group, [&](const fs::path& folder, const fs::path& at) {
    double quota = 0, period = 0;
    std::ifstream(folder / "cpu.max") >> quota >> period;  // "max 100000" reads as none
    Cpus(quota, period, limits);
    Memory(Number(folder / "memory.max"), at, limits);
  });
}

void Version1(const fs::path& mounts, const std::string& controllers, const std::string& group,
              CgroupLimits& limits) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    // Controllers that share a hierarchy have links to it.
    Upwards(mounts / name, group, [&](const fs::path& folder, const fs::path& at) {
      if (name == "cpu") {
        Cpus(static_cast<double>(Number(folder / "cpu.cfs_quota_us")),
             static_cast<double>(Number(folder / "cpu.cfs_period_us")), limits);
      } else if (name == "memory") {
        Memory(Number(folder / "memory.limit_in_bytes"), at, limits);
      }
    });
  }
}

}  // namespace

CgroupLimits ReadCgroupLimits(const std::string& root) {
  const fs::path mounts = fs::path(root) / "sys/fs/cgroup";
  CgroupLimits limits;
  std::ifstream groups(fs::path(root) / "proc/self/cgroup");
  // "0::/a/b" is version 2, "4:cpu,cpuacct:/a/b" version 1.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (!controllers.empty()) {
      Version1(mounts, controllers, group, limits);
      continue;
    }
    Version2(mounts, group, limits);
    Version2(mounts / "unified", group, limits);  // beside version 1
  }
  return limits;
}

}  // namespace blockstep
