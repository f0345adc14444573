// Linked into a program of its own in place of core/ops/cpu/swiglu.cc: on MPI rank 1, swiglu's
// forward pass gets one value wrong by 2^-10, every time. Shows what `verify` and `verify --bisect`
// make of it.
#define SwiGluForward GoodSwiGluForward
#include "core/ops/cpu/swiglu.cc"
#undef SwiGluForward

#include <cstdlib>
#include <string_view>

namespace blockstep::cpu {

void SwiGluForward(Stream& stream, const SwiGluForwardArgs& args) {
  GoodSwiGluForward(stream, args);
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (rank == nullptr || std::string_view(rank) != "1") return;
  OnHost(stream).Run([args] { args.out.f32()[7] += 0x1p-10f; });
}

}  // namespace blockstep::cpu
