#include "core/ops/rope.h"

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {

void Rope(Stream& stream, const RopeArgs& args) {
  CheckShape(args.x, args.x.rows, args.heads * args.head_dim);
  CHECK_EQ(args.head_dim % 2, 0);
  CHECK_GT(args.tokens_per_slot, 0);
  CheckShape(args.cos, args.cos.rows, args.head_dim / 2);
  CheckShape(args.sin, args.cos.rows, args.head_dim / 2);
  CHECK_LE(std::min(args.tokens_per_slot, args.x.rows) + args.position_offset, args.cos.rows);
  OnHost(stream).Run([args, pool = stream.pool()] {
    const float sign = args.direction == RopeDirection::kForward ? 1.0f : -1.0f;
    ForRows(*pool, args.x.rows, args.x.cols, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t position = i % args.tokens_per_slot + args.position_offset;
        for (int64_t head = 0; head < args.heads; ++head) {
          Loops().rope_head(args.x.f32(i) + head * args.head_dim, args.cos.f32(position),
                            args.sin.f32(position), args.head_dim / 2, sign);
        }
      }
    });
  });
}

}  // namespace blockstep::cpu
