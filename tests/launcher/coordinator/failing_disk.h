// A disk that fails on demand: this program's own pwrite, fsync, fdatasync and rename stand before
// the system's, for whatever runs in it. No power is cut here, so nothing is really synced: tests
// of many failures stay quick.
#pragma once

#include <string>
#include <vector>

namespace blockstep {

// From now on: the `nth` call (1: the next one) fails with `error`, and `times` - 1 calls after it,
// those of any name. A pwrite that fails has put half of its bytes there.
struct DiskFault {
  int nth = 1;
  int error = 0;
  int times = 1;
};
void FailDisk(DiskFault fault);
void MendDisk();
bool DiskHasFailed();  // since FailDisk
// Names of the calls since FailDisk or MendDisk.
std::vector<std::string> DiskCalls();

}  // namespace blockstep
