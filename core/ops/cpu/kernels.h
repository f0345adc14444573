// The CPU kernels, one per op of core/ops/kernel_table.h. Each hands all its work to stream.Run
// with its arguments by value, so it is right on inline and on queued streams, and splits it over a
// grid that depends on shapes alone.
#pragma once

#include "core/device/host_stream.h"
#include "core/ops/kernel_table.h"

namespace blockstep::cpu {

void EmbeddingForward(Stream& stream, const EmbeddingForwardArgs& args);
void EmbeddingBackward(Stream& stream, const EmbeddingBackwardArgs& args);
void RmsNormForward(Stream& stream, const RmsNormForwardArgs& args);
void RmsNormBackward(Stream& stream, const RmsNormBackwardArgs& args);
void Matmul(Stream& stream, const MatmulArgs& args);
int64_t PackedBytes(const PackWeightArgs& args);
void PackWeight(Stream& stream, const PackWeightArgs& args);
void Rope(Stream& stream, const RopeArgs& args);
void AttentionForward(Stream& stream, const AttentionForwardArgs& args);
void AttentionBackward(Stream& stream, const AttentionBackwardArgs& args);
int64_t AttentionScratchBytes(const AttentionShape& shape, int threads);
int64_t AttentionStatsBytes(const AttentionShape& shape);
void SwiGluForward(Stream& stream, const SwiGluForwardArgs& args);
void SwiGluBackward(Stream& stream, const SwiGluBackwardArgs& args);
void CrossEntropy(Stream& stream, const CrossEntropyArgs& args);
void AdamW(Stream& stream, const AdamWArgs& args);
void AdamNorm(Stream& stream, const AdamNormArgs& args);
void SquaredNorm(Stream& stream, const SquaredNormArgs& args);
void Add(Stream& stream, const AddArgs& args);
void Copy(Stream& stream, const CopyArgs& args);
void Fill(Stream& stream, const FillArgs& args);

}  // namespace blockstep::cpu
