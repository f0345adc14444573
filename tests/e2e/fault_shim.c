/* Preloaded into ranks and coordinators by tests: makes something happen in the FAULT_AT-th call of FAULT_CALL by rank
 * FAULT_RANK ("none": a process that is no rank), so that it happens at a counted event and not after some time.
 *   FAULT_AT       one count, or several: "10,30"
 *   FAULT_SIGNAL   is raised, so that the process dies or stops in the midst of that very call; 0: it never returns
 *   FAULT_GATE     instead: the call makes the file <gate>.<count>.held and returns when <gate>.<count> is there
 * A second fault has the names FAULT2_CALL and so on. Also sets clocks wrong for operators_cli_test.py. The program
 * itself has no such switches. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { kFaults = 2 };
static atomic_long calls[kFaults];

static const char* Setting(int fault, const char* name) {
  char key[32];
  snprintf(key, sizeof key, "FAULT%s_%s", fault == 0 ? "" : "2", name);
  return getenv(key);
}

static int Counts(int fault, const char* name) {
  const char *call = Setting(fault, "CALL"), *rank = Setting(fault, "RANK");
  const char* mine = getenv("OMPI_COMM_WORLD_RANK");
  return call && rank && Setting(fault, "AT") && strcmp(call, name) == 0 &&
         strcmp(rank, mine ? mine : "none") == 0;
}

/* Counts this call; its number if the fault is due in it, else 0. */
static long Due(int fault, const char* name) {
  if (!Counts(fault, name)) return 0;
  const long number = atomic_fetch_add(&calls[fault], 1) + 1;
  char* end;
  for (const char* at = Setting(fault, "AT"); *at; at = *end == ',' ? end + 1 : end) {
    if (strtol(at, &end, 10) == number) return number;
    if (end == at) break;
  }
  return 0;
}

static void Hold(const char* gate, long number) {
  char open_file[4096], held[4096 + 8];
  snprintf(open_file, sizeof open_file, "%s.%ld", gate, number);
  snprintf(held, sizeof held, "%s.held", open_file);
  close(open(held, O_CREAT | O_WRONLY, 0666));
  const struct timespec pause = {.tv_nsec = 1000000};
  while (access(open_file, F_OK) != 0) nanosleep(&pause, NULL);
}

static void Called(const char* name) {
  for (int fault = 0; fault < kFaults; ++fault) {
    const long number = Due(fault, name);
    if (number == 0) continue;
    if (Setting(fault, "GATE")) {
      Hold(Setting(fault, "GATE"), number);
      continue;
    }
    const int signal = atoi(Setting(fault, "SIGNAL"));
    while (signal == 0) pause();
    raise(signal);
  }
}

/* MPI's start. */
int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  static int (*real)(int*, char***, int, int*);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "MPI_Init_thread");
  Called("start");
  return real(argc, argv, required, provided);
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
  if (Due(0, "refused message")) return 16;
  return real(data, count, type, peer, tag, comm, request);
}

/* A file of a checkpoint, written and not yet durable. */
int fsync(int fd) {
  static int (*real)(int);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "fsync");
  Called("save");
  return real(fd);
}

/* A step that has just been announced: its row is in metrics.jsonl. */
ssize_t write(int fd, const void* data, size_t bytes) {
  static ssize_t (*real)(int, const void*, size_t);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "write");
  const ssize_t done = real(fd, data, bytes);
  if (!Counts(0, "announce") && !Counts(1, "announce")) return done;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return done;
  path[length] = '\0';
  const char* name = strrchr(path, '/');
  if (name && strcmp(name, "/metrics.jsonl") == 0 && memmem(data, bytes, "\"loss\":", 7)) {
    Called("announce");
  }
  return done;
}

/* A record of the coordinator's log, of which half is in the file. */
ssize_t pwrite(int fd, const void* data, size_t bytes, off_t at) {
  static ssize_t (*real)(int, const void*, size_t, off_t);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "pwrite");
  if (Due(0, "log")) {
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
