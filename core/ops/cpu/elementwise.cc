#include "core/ops/elementwise.h"

#include <cstring>

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {

void Add(Stream& stream, const AddArgs& args) {
  CheckShape(args.src, args.dst.rows, args.dst.cols);
  OnHost(stream).Run([args, pool = stream.pool()] {
    ForSpans(*pool, {args.src, args.dst}, [&](int64_t row, int64_t col, int64_t n) {
      Loops().add(args.dst.f32(row) + col, args.src.f32(row) + col, n);
    });
  });
}

void Copy(Stream& stream, const CopyArgs& args) {
  CheckShape(args.src, args.dst.rows, args.dst.cols);
  CHECK(args.src.dtype == args.dst.dtype);
  OnHost(stream).Run([args, pool = stream.pool()] {
    const int64_t size = DTypeSize(args.src.dtype);
    ForSpans(*pool, {args.src, args.dst}, [&](int64_t row, int64_t col, int64_t n) {
      std::memcpy(static_cast<char*>(args.dst.data) + (row * args.dst.ld + col) * size,
                  static_cast<const char*>(args.src.data) + (row * args.src.ld + col) * size,
                  n * size);
    });
  });
}

void Fill(Stream& stream, const FillArgs& args) {
  CheckShape(args.dst, args.dst.rows, args.dst.cols);
  OnHost(stream).Run([args, pool = stream.pool()] {
    ForSpans(*pool, {args.dst}, [&](int64_t row, int64_t col, int64_t n) {
      Loops().fill(args.dst.f32(row) + col, args.value, n);
    });
  });
}

}  // namespace blockstep::cpu
