/* Preloaded into one rank by faults_cli_test.py: raises FAULT_SIGNAL in the FAULT_AT-th call of
 * FAULT_CALL by rank FAULT_RANK, so that a process dies or stops in the midst of that very call.
 * The program itself has no such switch. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_long calls;

static void Called(const char* name) {
  const char *call = getenv("FAULT_CALL"), *rank = getenv("FAULT_RANK");
  const char *mine = getenv("OMPI_COMM_WORLD_RANK"), *at = getenv("FAULT_AT");
  if (!call || !rank || !mine || !at || strcmp(call, name) != 0 || strcmp(rank, mine) != 0) return;
  if (atomic_fetch_add(&calls, 1) + 1 == atol(at)) raise(atoi(getenv("FAULT_SIGNAL")));
}

/* A product inside forward or backward. */
int dnnl_primitive_execute(const void* primitive, void* stream, int count, const void* args) {
  static int (*real)(const void*, void*, int, const void*);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "dnnl_primitive_execute");
  Called("product");
  return real(primitive, stream, count, args);
}

/* A message of a collective, some of them sent and some not. */
int MPI_Isend(const void* data, int count, void* type, int peer, int tag, void* comm,
              void* request) {
  static int (*real)(const void*, int, void*, int, int, void*, void*);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "MPI_Isend");
  Called("message");
  return real(data, count, type, peer, tag, comm, request);
}

/* A file of a checkpoint, written and not yet durable. */
int fsync(int fd) {
  static int (*real)(int);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "fsync");
  Called("save");
  return real(fd);
}
