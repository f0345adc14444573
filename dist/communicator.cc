#include "dist/communicator.h"

#include <cstring>

#include "core/base/status.h"

namespace blockstep {
namespace {

void AllGatherHost(Communicator& control, const void* mine, int64_t bytes, void* out,
                   std::string what) {
  GatherSegment segment{.base = out};
  for (int r = 0; r <= control.size(); ++r) segment.offsets.push_back(r * bytes);
  std::memcpy(static_cast<char*>(out) + control.rank() * bytes, mine, static_cast<size_t>(bytes));
  control.AllGather({std::move(segment)}, std::move(what));
}

}  // namespace

SplitPart SplitPart::Of(const std::vector<int>& colors, int rank) {
  SplitPart part;
  for (int r = 0; r < static_cast<int>(colors.size()); ++r) {
    if (colors[r] != colors[rank]) continue;
    part.rank += r < rank ? 1 : 0;
    ++part.size;
  }
  return part;
}

absl::Status Communicator::Synchronize() {
  RETURN_IF_ERROR(stream().Synchronize());
  return status();
}

absl::Status Communicator::HostAllGather(const void* mine, int64_t bytes, void* out,
                                         std::string what) {
  AllGatherHost(*this, mine, bytes, out, std::move(what));
  return Synchronize();
}

HostGather::HostGather(Communicator& control, const void* mine, int64_t bytes, std::string what)
    : control_(control), all_(static_cast<size_t>(control.size() * bytes)) {
  AllGatherHost(control, mine, bytes, all_.data(), std::move(what));
  done_ = control.stream().Record();
}

absl::StatusOr<std::span<const char>> HostGather::Finish() {
  done_.Block();
  RETURN_IF_ERROR(control_.status());
  return std::span<const char>(all_);
}

CommBytes& CommBytes::operator+=(const CommBytes& more) {
  all_gather += more.all_gather;
  reduce_scatter += more.reduce_scatter;
  exchange += more.exchange;
  broadcast += more.broadcast;
  calls += more.calls;
  return *this;
}

CommBytes RankGroup::bytes_sent() const {
  CommBytes bytes = control->bytes_sent();
  return bytes += data->bytes_sent();
}

void RankGroup::Abandon(const absl::Status& why) const {
  control->Abandon(why);
  data->Abandon(why);
}

CommProgress RankGroup::progress() const {
  const CommProgress a = control->progress(), b = data->progress();
  const bool of_control =
      a.running == b.running ? (a.since_ns < b.since_ns) == a.running : a.running;
  CommProgress progress = of_control ? a : b;
  progress.sequence = a.sequence + b.sequence;
  return progress;
}

}  // namespace blockstep
