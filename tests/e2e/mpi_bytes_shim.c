/* Preloaded into ranks by mpi_bytes_cli_test.py: counts the bytes of every message that the program
 * hands to MPI and writes them to MPI_BYTES.<rank> when MPI ends, one line per kind of call (tags
 * tell them apart, dist/mpi). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_llong all_gather, exchange, reduce_scatter;

/* The program's messages are bytes (MPI_BYTE). */
int MPI_Isend(const void* data, int count, void* type, int peer, int tag, void* comm,
              void* request) {
  static int (*real)(const void*, int, void*, int, int, void*, void*);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "PMPI_Isend");
  atomic_llong* const kinds[] = {&all_gather, &exchange, &reduce_scatter};
  if (tag % 4 == 3) abort();
  atomic_fetch_add(kinds[tag % 4], count);
  return real(data, count, type, peer, tag, comm, request);
}

int MPI_Finalize(void) {
  static int (*real)(void);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "PMPI_Finalize");
  const char *base = getenv("MPI_BYTES"), *rank = getenv("OMPI_COMM_WORLD_RANK");
  char path[4096];
  if (base && rank) {
    snprintf(path, sizeof path, "%s.%s", base, rank);
    FILE* file = fopen(path, "w");
    if (!file) abort();
    fprintf(file, "all_gather %lld\nexchange %lld\nreduce_scatter %lld\n", (long long)all_gather,
            (long long)exchange, (long long)reduce_scatter);
    if (fclose(file) != 0) abort();
  }
  return real();
}
