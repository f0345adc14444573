// Stands in for MPI where it is not built: sanitizer presets, machines without it. Asking for it is
// an error that says so.
#include "core/base/check.h"
#include "core/base/status.h"
#include "dist/mpi/mpi_runtime.h"

namespace blockstep {

struct MpiRuntime::Impl {};

MpiRuntime::MpiRuntime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MpiRuntime::~MpiRuntime() = default;

absl::StatusOr<std::unique_ptr<MpiRuntime>> MpiRuntime::Create(MpiOptions options) {
  return absl::UnimplementedError(
      Cat("MPI: not in this build (built with sanitizers, or MPI not found by CMake)",
          options.launcher_size > 1
              ? Cat("; ", options.launcher_source, " says ", options.launcher_size, " ranks")
              : ""));
}

RankGroup MpiRuntime::group() {
  CHECK(false);  // Create never gives a runtime
  std::abort();
}
Communicator& MpiRuntime::control() { return *group().control; }
Communicator& MpiRuntime::data() { return *group().data; }
int MpiRuntime::local_rank() const { return 0; }
int MpiRuntime::local_size() const { return 1; }
int MpiRuntime::machine() const { return 0; }
std::string MpiRuntime::LibraryVersion() { return "none"; }
absl::Status MpiRuntime::Finalize() { return absl::OkStatus(); }

}  // namespace blockstep
