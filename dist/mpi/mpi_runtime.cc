#include "dist/mpi/mpi_runtime.h"

#include "core/base/status.h"
#include "dist/mpi/mpi_communicator.h"
#include "dist/mpi/mpi_thread.h"

namespace blockstep {

struct MpiRuntime::Impl {
  MpiThread thread;
  std::shared_ptr<MpiProcess> process = std::make_shared<MpiProcess>();
  std::unique_ptr<MpiCommunicator> control, data;
  MPI_Comm data_comm = MPI_COMM_NULL;
  int rank = 0, size = 0, local_rank = 0, local_size = 1, machine = 0;

  absl::Status Start();
};

// On the MPI thread. Its calls wait for all ranks without bound; Create's caller bounds them.
absl::Status MpiRuntime::Impl::Start() {
  // That thread is the only caller, and the one that initialised: "funneled" is all it needs.
  int provided = 0;
  const CommCall call{.op = "MPI_Init_thread", .what = "start"};
  RETURN_IF_ERROR(
      MpiStatus(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), call, 0));
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (provided < MPI_THREAD_FUNNELED) {
    return FailedPrecondition("MPI: expected thread level MPI_THREAD_FUNNELED, got ", provided);
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm host = MPI_COMM_NULL;
  RETURN_IF_ERROR(MpiStatus(
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &host), call,
      rank));
  MPI_Comm_rank(host, &local_rank);
  MPI_Comm_size(host, &local_size);
  machine = rank;
  const absl::Status told = MpiStatus(MPI_Bcast(&machine, 1, MPI_INT, 0, host), call, rank);
  MPI_Comm_free(&host);
  RETURN_IF_ERROR(told);
  RETURN_IF_ERROR(MpiStatus(MPI_Comm_dup(MPI_COMM_WORLD, &data_comm), call, rank));
  MPI_Comm_set_errhandler(data_comm, MPI_ERRORS_RETURN);
  return absl::OkStatus();
}

MpiRuntime::MpiRuntime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<MpiRuntime>> MpiRuntime::Create(MpiOptions options) {
  auto impl = std::make_unique<Impl>();
  HostStream &control = impl->thread.control(), &data = impl->thread.data();
  control.RunFallible([i = impl.get()] { return i->Start(); });
  RETURN_IF_ERROR(control.Synchronize());
  impl->process->control = &control;
  impl->process->data = &data;
  impl->process->timeout = options.timeout;
  impl->process->max_message_bytes = options.max_message_bytes;
  impl->process->tracer = options.tracer;
  impl->control = std::make_unique<MpiCommunicator>(impl->process, control, MPI_COMM_WORLD,
                                                    impl->rank, impl->size);
  impl->data = std::make_unique<MpiCommunicator>(impl->process, data, impl->data_comm, impl->rank,
                                                 impl->size);
  std::unique_ptr<MpiRuntime> runtime(new MpiRuntime(std::move(impl)));
  const int size = runtime->group().size();
  if (options.launcher_size > 0 && options.launcher_size != size) {
    const int rank = runtime->group().rank();
    // Each such process is a world of its own: leaving it waits for nobody.
    RETURN_IF_ERROR(runtime->Finalize());
    return FailedPrecondition("MPI: rank ", rank, ": expected ", options.launcher_size, " ranks (",
                              options.launcher_source, "), got ", size,
                              "; the launcher belongs to another MPI than this program's, ",
                              LibraryVersion());
  }
  return runtime;
}

MpiRuntime::~MpiRuntime() {
  if (!impl_->process->finalized && impl_->process->control->Synchronize().ok()) (void)Finalize();
}

RankGroup MpiRuntime::group() {
  return {.control = impl_->control.get(), .data = impl_->data.get()};
}
Communicator& MpiRuntime::control() { return *impl_->control; }
Communicator& MpiRuntime::data() { return *impl_->data; }
int MpiRuntime::local_rank() const { return impl_->local_rank; }
int MpiRuntime::local_size() const { return impl_->local_size; }
int MpiRuntime::machine() const { return impl_->machine; }

std::string MpiRuntime::LibraryVersion() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);  // allowed at any time
  const std::string version(text, length);
  return version.substr(0, version.find(','));
}

absl::Status MpiRuntime::Finalize() {
  HostStream& control = impl_->thread.control();
  RETURN_IF_ERROR(impl_->thread.data().Synchronize());  // nothing is left there
  impl_->control->Barrier("finalize");
  control.RunFallible([i = impl_.get()] {
    if (i->process->finalized) return absl::OkStatus();
    i->process->finalized = true;
    const CommCall call{.op = "MPI_Finalize", .what = "finalize"};
    return MpiStatus(MPI_Finalize(), call, i->rank);
  });
  return control.Synchronize();
}

}  // namespace blockstep
