#include "core/ops/cpu/loops/vec.h"

namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA {

void Add(float*, const float*, int64_t);
void Fill(float*, float, int64_t);
void ExpRow(const float*, float*, int64_t);
float NormRow(const float*, const float*, float*, const float*, float*, int64_t, float);
void NormBackwardRow(const float*, const float*, const float*, float, float*, int64_t, int);
void NormWeightGrad(const float*, int64_t, const float*, int64_t, const float*, int64_t, int64_t,
                    float*, int);
void RopeHead(float*, const float*, const float*, int64_t, float);
void SwiGlu(const float*, const float*, float*, int64_t);
void SwiGluBackward(const float*, const float*, const float*, float*, float*, int64_t);
float MaxRow(const float*, int64_t);
float ExpSum(const float*, float, float*, int64_t);
void Scale(float*, float, int64_t);
void AdamW(const AdamWScalars&, float*, const float*, float*, float*, int64_t);
double SquaredQuantum(const float*, int64_t);
double AdamQuantum(const AdamNormScalars&, const float*, const float*, int64_t);
void AttentionForward(const AttentionTask&);
void AttentionBackward(const AttentionTask&);

#define BLOCKSTEP_TEXT2(x) #x
#define BLOCKSTEP_TEXT(x) BLOCKSTEP_TEXT2(x)

const CpuLoops kLoops = {
    .name = BLOCKSTEP_TEXT(BLOCKSTEP_LOOPS_ISA),
    .add = Add,
    .fill = Fill,
    .exp = ExpRow,
    .norm_row = NormRow,
    .norm_backward_row = NormBackwardRow,
    .norm_weight_grad = NormWeightGrad,
    .rope_head = RopeHead,
    .swiglu = SwiGlu,
    .swiglu_backward = SwiGluBackward,
    .max = MaxRow,
    .exp_sum = ExpSum,
    .scale = Scale,
    .adamw = AdamW,
    .squared_quantum = SquaredQuantum,
    .adam_quantum = AdamQuantum,
    .attention_forward = AttentionForward,
    .attention_backward = AttentionBackward,
};

}  // namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA
