#include "dist/row_lists.h"

#include <algorithm>

#include "core/base/status.h"
#include "dist/agreement.h"

namespace blockstep {
namespace {

std::vector<int32_t> SpreadIds(int64_t rows, int64_t n) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    ids[static_cast<size_t>(i)] = static_cast<int32_t>(n < rows ? i * rows / n : i % rows);
  }
  return ids;
}

absl::Status CheckIds(const TensorInfo& tensor, const std::vector<int32_t>& ascending) {
  if (ascending.empty() || (ascending.front() >= 0 && ascending.back() < tensor.rows)) {
    return absl::OkStatus();
  }
  return absl::OutOfRangeError(Cat(tensor.name, ": expected ids in [0, ", tensor.rows, "), got ",
                                   ascending.front() < 0 ? ascending.front() : ascending.back()));
}

// All but `asked`, which the others know.
absl::StatusOr<RowLists> ListsOf(const TensorInfo& tensor, const RowIds& micro_step, int ranks) {
  const std::vector<int32_t> ids =
      micro_step.ids == nullptr
          ? SpreadIds(tensor.rows, micro_step.n)
          : std::vector<int32_t>(micro_step.ids, micro_step.ids + micro_step.n);
  RowLists lists{.wanted = ids};
  std::vector<int32_t>& wanted = lists.wanted;
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  RETURN_IF_ERROR(CheckIds(tensor, wanted));
  const auto place = [&](int64_t id) {
    return std::lower_bound(wanted.begin(), wanted.end(), id) - wanted.begin();
  };
  for (int r = 0; r < ranks; ++r) lists.from.push_back(place(OwnedRows(tensor, ranks, r).begin));
  lists.from.push_back(static_cast<int64_t>(wanted.size()));
  for (const int32_t id : ids) lists.positions.push_back(static_cast<int32_t>(place(id)));
  lists.asked.resize(static_cast<size_t>(ranks));
  return lists;
}

}  // namespace

absl::StatusOr<std::vector<RowLists>> ExchangeRowLists(const TensorInfo& tensor,
                                                       std::span<const RowIds> micro_steps,
                                                       Communicator& control) {
  const int ranks = control.size(), rank = control.rank();
  const Range own = OwnedRows(tensor, ranks, rank);
  std::vector<RowLists> lists(micro_steps.size());
  absl::Status status;
  // Per micro-step and owner; the last one is 1 if this rank cannot take part.
  const size_t stride = micro_steps.size() * static_cast<size_t>(ranks) + 1;
  std::vector<int32_t> counts(stride, 0), all(stride * static_cast<size_t>(ranks));
  std::vector<std::vector<int32_t>> out(static_cast<size_t>(ranks)), in = out;
  for (size_t m = 0; m < micro_steps.size() && status.ok(); ++m) {
    absl::StatusOr<RowLists> made = ListsOf(tensor, micro_steps[m], ranks);
    status = made.status();
    if (!status.ok()) break;
    lists[m] = *std::move(made);
    for (int r = 0; r < ranks; ++r) {
      const auto begin = lists[m].wanted.begin() + lists[m].from[r];
      const auto end = lists[m].wanted.begin() + lists[m].from[r + 1];
      counts[m * ranks + r] = static_cast<int32_t>(end - begin);
      out[r].insert(out[r].end(), begin, end);
    }
  }
  counts.back() = status.ok() ? 0 : 1;
  RETURN_IF_ERROR(control.HostAllGather(counts.data(),
                                        static_cast<int64_t>(stride * sizeof(int32_t)), all.data(),
                                        "rows to fetch: sizes"));
  const auto count = [&](int of, size_t m) { return all[of * stride + m * ranks + rank]; };
  std::vector<PeerSend> sends;
  std::vector<PeerRecv> recvs;
  bool failed = false;
  for (int r = 0; r < ranks; ++r) {
    failed |= all[(r + 1) * stride - 1] != 0;
    int64_t rows = 0;
    for (size_t m = 0; m < lists.size(); ++m) rows += count(r, m);
    // Without memory nothing arrives, and the first row stands for all.
    in[r].assign(static_cast<size_t>(rows), static_cast<int32_t>(own.begin));
    sends.push_back({r, out[r].data(), static_cast<int64_t>(out[r].size() * sizeof(int32_t))});
    recvs.push_back({r, in[r].data(), rows * static_cast<int64_t>(sizeof(int32_t))});
  }
  if (failed) return AgreeOnStatus(&control, status, "rows to fetch");
  control.Exchange(std::move(sends), std::move(recvs), "rows to fetch");
  RETURN_IF_ERROR(control.Synchronize());
  for (int r = 0; r < ranks; ++r) {
    auto next = in[r].begin();
    for (size_t m = 0; m < lists.size(); ++m) {
      for (int32_t i = 0; i < count(r, m); ++i, ++next) {
        lists[m].asked[r].push_back(*next - static_cast<int32_t>(own.begin));
      }
    }
  }
  return lists;
}

}  // namespace blockstep
