// The process's MPI in mpi_communicator_test, from before the tests to after them.
#pragma once

#include "dist/mpi/mpi_runtime.h"

namespace blockstep {

extern MpiRuntime* runtime;

}  // namespace blockstep
