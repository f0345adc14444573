#include "launcher/checkpoint/content_sha256.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "core/base/str.h"
#include "launcher/checkpoint/rows_sha256.h"

namespace blockstep {
namespace {

std::string Preamble(std::string_view name, std::string_view dtype,
                     const std::vector<int64_t>& shape) {
  std::string text(name);
  text += '\0';
  text += dtype;
  text += '\0';
  for (size_t i = 0; i < shape.size(); ++i) text += Cat(i == 0 ? "" : ",", shape[i]);
  text += '\0';
  return text;
}

// Sorted by name.
std::vector<RowsToHash> InOrder(const OwnedWeights& weights) {
  const auto& tensors = weights.table->tensors;
  std::vector<int> order(tensors.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return tensors[static_cast<size_t>(a)].name < tensors[static_cast<size_t>(b)].name;
  });
  std::vector<RowsToHash> matrices;
  for (const int t : order) {
    const TensorInfo& info = tensors[static_cast<size_t>(t)];
    const auto shape =
        info.vector ? std::vector<int64_t>{info.rows} : std::vector<int64_t>{info.rows, info.cols};
    const TensorView view = weights.owned(t);
    matrices.push_back({.preamble = Preamble(info.name, DTypeName(view.dtype), shape),
                        .all = {0, info.rows},
                        .mine = weights.owned_range(t),
                        .view = view});
  }
  return matrices;
}

std::string Place(const TensorTable& table, int tensor, Range rows) {
  return Cat(table.tensors[static_cast<size_t>(tensor)].name, "[", rows.begin, ",", rows.end, ")");
}

std::vector<RowsToHash> InOrder(const TensorTable& table, std::vector<StateSlice> states,
                                int rank) {
  std::sort(states.begin(), states.end(), [](const StateSlice& a, const StateSlice& b) {
    return std::tie(a.tensor, a.rows.begin, a.name) < std::tie(b.tensor, b.rows.begin, b.name);
  });
  std::vector<RowsToHash> rows;
  for (const StateSlice& s : states) {
    RowsToHash m{.preamble = Cat(Place(table, s.tensor, s.rows), " ", s.name, " ",
                                 DTypeName(s.view.dtype), "\n"),
                 .all = s.rows,
                 .mine = {s.row0, s.row0 + s.view.rows},
                 .view = s.view};
    if (s.layout == StateLayout::kReplicated) {  // every rank has it: rank 0's is hashed
      CHECK_EQ(s.view.rows, 1);
      m.all = {0, 1};
      m.mine = {0, rank == 0 ? 1 : 0};
    }
    if (m.mine.empty()) m.mine = {m.all.end, m.all.end};
    rows.push_back(std::move(m));
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::string> WeightsSha256(const OwnedWeights& weights, Communicator* group) {
  return Sha256OfRows("", InOrder(weights), group, "weights");
}

int64_t WeightsSha256Bytes(const OwnedWeights& weights, int ranks, int rank) {
  return Sha256OfRowsBytes(InOrder(weights), ranks, rank);
}

absl::StatusOr<std::string> StateSha256(const TensorTable& table, const StateToHash& state,
                                        Communicator* group) {
  std::string counters;
  for (const EntryCounter& c : state.counters) {
    counters += Cat(Place(table, c.tensor, c.rows), " ", c.updates, "\n");
  }
  return Sha256OfRows(counters, InOrder(table, state.states, group->rank()), group, "state");
}

int64_t StateSha256Bytes(const TensorTable& table, const StateToHash& state, int ranks, int rank) {
  return Sha256OfRowsBytes(InOrder(table, state.states, rank), ranks, rank);
}

}  // namespace blockstep
