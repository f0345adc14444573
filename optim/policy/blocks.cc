#include "optim/policy/blocks.h"

#include <algorithm>

#include "core/base/str.h"
#include "core/tensor/sharding.h"

namespace blockstep {
namespace {

// `splits` row ranges of one matrix, each a block, as equal as entries may be.
std::vector<BadamBlock> SplitBlocks(const TensorTable& table, int tensor, const std::string& name,
                                    int splits) {
  std::vector<BadamBlock> blocks;
  const int64_t rows = table.tensors[tensor].rows;
  const int64_t grain = EntryRows(table.tensors[tensor].cols);
  for (int i = 0; i < splits; ++i) {
    const Range parts = SplitEvenly(DivCeil(rows, grain), splits, i);
    const Range range{parts.begin * grain, std::min(rows, parts.end * grain)};
    blocks.push_back({name, {{{.tensor = tensor, .rows = range}}}});
    if (splits > 1) blocks.back().label += Cat(" rows [", range.begin, ", ", range.end, ")");
  }
  return blocks;
}

void Append(std::vector<BadamBlock>& to, std::vector<BadamBlock> more) {
  for (BadamBlock& block : more) to.push_back(std::move(block));
}

}  // namespace

ModelPart PartOf(const TensorTable& table, int tensor) {
  const TensorInfo& info = table.tensors[tensor];
  switch (table.units[info.unit].kind) {
    case UnitKind::kEmbedding:
      return ModelPart::kEmbedding;
    case UnitKind::kLayer:
      return ModelPart::kLayer;
    case UnitKind::kHead:
      break;
  }
  return info.vector ? ModelPart::kFinalNorm : ModelPart::kHead;
}

TensorPolicy TensorPolicyOf(const PolicyConfig& config, const TensorTable& table, int tensor) {
  switch (PartOf(table, tensor)) {
    case ModelPart::kEmbedding:
    case ModelPart::kHead:
      return config.embedding;
    case ModelPart::kFinalNorm:
      return config.final_norm;
    case ModelPart::kLayer:
      break;
  }
  return TensorPolicy::kAsBlocks;
}

ActiveSet MakeSet(std::vector<ActiveEntry> entries) {
  std::sort(entries.begin(), entries.end(), [](const ActiveEntry& a, const ActiveEntry& b) {
    return a.tensor != b.tensor ? a.tensor < b.tensor : a.rows.begin < b.rows.begin;
  });
  return {std::move(entries)};
}

ActiveSet MakeSet(const TensorTable& table, const std::vector<int>& tensors) {
  std::vector<ActiveEntry> entries;
  for (int tensor : tensors) entries.push_back(WholeTensor(table, tensor));
  return MakeSet(std::move(entries));
}

std::vector<BadamBlock> BadamBlocks(const PolicyConfig& config, const TensorTable& table) {
  std::vector<BadamBlock> first, layers, last;
  std::vector<ActiveEntry> norms, always;
  for (const UnitInfo& unit : table.units) {
    if (unit.kind == UnitKind::kLayer) layers.push_back({unit.name, MakeSet(table, unit.tensors)});
  }
  for (int i = 0; i < static_cast<int>(table.tensors.size()); ++i) {
    const ModelPart part = PartOf(table, i);
    if (part == ModelPart::kLayer) continue;
    const TensorPolicy treatment = TensorPolicyOf(config, table, i);
    if (treatment == TensorPolicy::kAlways) {
      always.push_back(WholeTensor(table, i));
    } else if (treatment == TensorPolicy::kAsBlocks) {
      if (part == ModelPart::kFinalNorm) norms.push_back(WholeTensor(table, i));
      if (part == ModelPart::kEmbedding) {
        Append(first, SplitBlocks(table, i, "embedding", config.embedding_split));
      }
      if (part == ModelPart::kHead)
        Append(last, SplitBlocks(table, i, "head", config.embedding_split));
    }
  }
  if (!norms.empty()) {
    if (last.empty() && first.empty()) last.push_back({"final norm", {}});
    std::vector<ActiveEntry>& with = (last.empty() ? first : last).front().set.entries;
    with.insert(with.end(), norms.begin(), norms.end());
  }
  std::vector<BadamBlock> blocks;
  Append(blocks, std::move(first));
  Append(blocks, std::move(layers));
  Append(blocks, std::move(last));
  for (BadamBlock& block : blocks) {
    block.set.entries.insert(block.set.entries.end(), always.begin(), always.end());
    block.set = MakeSet(std::move(block.set.entries));
  }
  return blocks;
}

}  // namespace blockstep
