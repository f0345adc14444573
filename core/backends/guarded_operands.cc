#include "core/backends/guarded_operands.h"

#include <string_view>

#include "core/device/guarded_device.h"

namespace blockstep {
namespace {

// Of one op.
class Operands {
 public:
  explicit Operands(std::string_view op) : op_(op) {}

  const Operands& operator()(std::string_view name, TensorView& view) const {
    const bool empty = view.rows == 0 || view.cols == 0;
    const int64_t elements = empty ? 0 : (view.rows - 1) * view.ld + view.cols;
    view.data = GuardedMemory(view.data, elements * DTypeSize(view.dtype), {op_, name});
    return *this;
  }
  template <typename T>
  const Operands& operator()(std::string_view name, T*& data, int64_t count) const {
    return Bytes(name, data, count * static_cast<int64_t>(sizeof(T)));
  }
  template <typename T>
  const Operands& Bytes(std::string_view name, T*& data, int64_t bytes) const {
    data = static_cast<T*>(GuardedMemory(data, bytes, {op_, name}));
    return *this;
  }

 private:
  std::string_view op_;
};

// Those that both directions of attention have.
template <typename Args>
void AttentionOperands(const Operands& operands, Args& a, const OperandSizes& sizes) {
  const AttentionShape& s = a.shape;
  operands("q", a.q)("k", a.k)("v", a.v)("out", a.out)("first_key", a.first_key, s.slots * s.q_len);
  operands.Bytes("stats", a.stats, sizes.kernels.attention_stats_bytes(s));
  operands.Bytes("scratch", a.scratch, sizes.kernels.attention_scratch_bytes(s, sizes.threads));
}

}  // namespace

void ToMemory(EmbeddingForwardArgs& a, const OperandSizes&) {
  Operands("embedding_forward")("table", a.table)("ids", a.ids, a.out.rows)("out", a.out);
}

void ToMemory(EmbeddingBackwardArgs& a, const OperandSizes&) {
  Operands("embedding_backward")("dout", a.dout)("ids", a.ids, a.dout.rows)("dtable", a.dtable);
}

void ToMemory(RmsNormForwardArgs& a, const OperandSizes&) {
  const Operands operands("rms_norm_forward");
  operands("x", a.x)("delta", a.delta)("sum", a.sum)("weight", a.weight)("y", a.y)("rstd", a.rstd);
}

void ToMemory(RmsNormBackwardArgs& a, const OperandSizes&) {
  const Operands operands("rms_norm_backward");
  operands("dy", a.dy)("s", a.s)("rstd", a.rstd)("weight", a.weight)("dx", a.dx);
  operands("dweight", a.dweight);
}

void ToMemory(MatmulArgs& a, const OperandSizes& sizes) {
  const Operands operands("matmul");
  if (a.packed_b.data != nullptr) {
    const PackWeightArgs packed = {.b = a.b, .trans_b = a.trans_b, .rows_per_call = a.d.rows};
    operands.Bytes("packed_b", a.packed_b.data, sizes.kernels.packed_bytes(packed));
  }
  operands("a", a.a)("b", a.b)("d", a.d);
}

void ToMemory(PackWeightArgs& a, const OperandSizes& sizes) {
  Operands("pack_weight").Bytes("out", a.out, sizes.kernels.packed_bytes(a))("b", a.b);
}

void ToMemory(RopeArgs& a, const OperandSizes&) {
  Operands("rope")("x", a.x)("cos", a.cos)("sin", a.sin);
}

void ToMemory(AttentionForwardArgs& a, const OperandSizes& sizes) {
  AttentionOperands(Operands("attention_forward"), a, sizes);
}

void ToMemory(AttentionBackwardArgs& a, const OperandSizes& sizes) {
  const Operands operands("attention_backward");
  AttentionOperands(operands, a, sizes);
  operands("dout", a.dout)("dq", a.dq)("dk", a.dk)("dv", a.dv);
}

void ToMemory(SwiGluForwardArgs& a, const OperandSizes&) {
  Operands("swiglu_forward")("gate", a.gate)("up", a.up)("out", a.out);
}

void ToMemory(SwiGluBackwardArgs& a, const OperandSizes&) {
  const Operands operands("swiglu_backward");
  operands("gate", a.gate)("up", a.up)("dout", a.dout)("dgate", a.dgate)("dup", a.dup);
}

void ToMemory(CrossEntropyArgs& a, const OperandSizes&) {
  const int64_t n = a.logits.rows;
  Operands("cross_entropy")("logits", a.logits)("targets", a.targets, n)("loss", a.loss, n);
}

void ToMemory(AdamWArgs& a, const OperandSizes&) {
  const Operands operands("adamw");
  operands("param", a.param)("grad", a.grad)("m", a.m)("v", a.v)("grad_scale", a.grad_scale, 1);
}

void ToMemory(AdamNormArgs& a, const OperandSizes&) {
  Operands("adam_norm")("m", a.m)("v", a.v)("sum", a.sum, 1);
}

void ToMemory(SquaredNormArgs& a, const OperandSizes&) {
  Operands("squared_norm")("x", a.x)("sum", a.sum, 1);
}

void ToMemory(AddArgs& a, const OperandSizes&) { Operands("add")("src", a.src)("dst", a.dst); }

void ToMemory(CopyArgs& a, const OperandSizes&) { Operands("copy")("src", a.src)("dst", a.dst); }

void ToMemory(FillArgs& a, const OperandSizes&) { Operands("fill")("dst", a.dst); }

}  // namespace blockstep
