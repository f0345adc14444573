/* Preloaded into ranks by faults_cli_test.py and others, into a coordinator by coordinator_cli_test.py: raises
 * FAULT_SIGNAL (0: never returns) in the FAULT_AT-th call of FAULT_CALL by rank FAULT_RANK ("none": a process that is
 * no rank), so that a process dies or stops in the midst of that very call; sets clocks wrong for
 * operators_cli_test.py. The program itself has no such switches. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls;

static int Due(const char* name) {
  const char *call = getenv("FAULT_CALL"), *rank = getenv("FAULT_RANK");
  const char *mine = getenv("OMPI_COMM_WORLD_RANK"), *at = getenv("FAULT_AT");
  if (!call || !rank || !at || strcmp(call, name) != 0) return 0;
  if (strcmp(rank, mine ? mine : "none") != 0) return 0;
  return atomic_fetch_add(&calls, 1) + 1 == atol(at);
}

static void Called(const char* name) {
  if (!Due(name)) return;
  const int signal = atoi(getenv("FAULT_SIGNAL"));
  while (signal == 0) pause();
  raise(signal);
}

/* A product inside forward or backward. */
int dnnl_primitive_execute(const void* primitive, void* stream, int count, const void* args) {
  static int (*real)(const void*, void*, int, const void*);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "dnnl_primitive_execute");
  Called("product");
  return real(primitive, stream, count, args);
}

/* A message of a collective, some of them sent and some not; a "refused message" is an error of MPI
 * on this rank alone (16 is Open MPI's MPI_ERR_OTHER). */
int MPI_Isend(const void* data, int count, void* type, int peer, int tag, void* comm,
              void* request) {
  static int (*real)(const void*, int, void*, int, int, void*, void*);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "MPI_Isend");
  Called("message");
  if (Due("refused message")) return 16;
  return real(data, count, type, peer, tag, comm, request);
}

/* A file of a checkpoint, written and not yet durable. */
int fsync(int fd) {
  static int (*real)(int);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "fsync");
  Called("save");
  return real(fd);
}

/* A record of the coordinator's log, of which half is in the file. */
ssize_t pwrite(int fd, const void* data, size_t bytes, off_t at) {
  static ssize_t (*real)(int, const void*, size_t, off_t);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "pwrite");
  if (Due("log")) {
    (void)!real(fd, data, bytes / 2, at);
    raise(atoi(getenv("FAULT_SIGNAL")));
  }
  return real(fd, data, bytes, at);
}

/* A clock on the wall that is FAULT_CLOCK seconds off, from FAULT_CLOCK_AFTER seconds after the first look on. */
int clock_gettime(clockid_t id, struct timespec* now) {
  static atomic_long began;
  const char *off = getenv("FAULT_CLOCK"), *after = getenv("FAULT_CLOCK_AFTER");
  const int done = (int)syscall(SYS_clock_gettime, id, now);
  if (!off || !after || id != CLOCK_REALTIME) return done;
  struct timespec steady;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &steady);
  long none = 0;
  atomic_compare_exchange_strong(&began, &none, steady.tv_sec + 1);
  if (steady.tv_sec + 1 - atomic_load(&began) >= atol(after)) now->tv_sec += atol(off);
  return done;
}

/* A decision of the coordinator: its report is durable, nobody has been answered. */
int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "fdatasync");
  const int done = real(fd);
  Called("decision");
  return done;
}
