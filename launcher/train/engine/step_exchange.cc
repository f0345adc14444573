#include "launcher/train/engine/step_exchange.h"

#include <algorithm>
#include <cstring>

#include "core/base/status.h"
#include "dist/agreement.h"

namespace blockstep {
namespace {

// "rank 0: 1f3a, rank 1: 77b0" for the hashes of ranks that differ from rank 0's.
std::string Differences(const std::vector<uint64_t>& hashes) {
  std::string text = Cat("rank 0: ", std::hex, hashes[0]);
  for (size_t r = 1; r < hashes.size(); ++r) {
    if (hashes[r] != hashes[0]) text += Cat(", rank ", std::dec, r, ": ", std::hex, hashes[r]);
  }
  return text;
}

bool AllEqual(const std::vector<uint64_t>& values) {
  for (uint64_t v : values) {
    if (v != values[0]) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<ExchangeResult> ExchangeStep(Communicator& group, const RankWord& mine,
                                            const std::vector<ExactSum>& norms) {
  const size_t norm_bytes = norms.size() * sizeof(ExactSum);
  const size_t stride = sizeof(RankWord) + norm_bytes;
  std::vector<char> send(stride), all(stride * group.size());
  std::memcpy(send.data(), &mine, sizeof(RankWord));
  if (norm_bytes > 0) std::memcpy(send.data() + sizeof(RankWord), norms.data(), norm_bytes);
  RETURN_IF_ERROR(group.HostAllGather(send.data(), static_cast<int64_t>(stride), all.data(),
                                      Cat("exchange of step ", mine.step)));
  ExchangeResult result;
  result.norms.resize(norms.size());
  std::vector<uint64_t> hashes;
  bool all_hold = true;
  for (int r = 0; r < group.size(); ++r) {
    RankWord word;
    std::memcpy(&word, all.data() + r * stride, sizeof word);
    if (word.step != mine.step) {
      return FailedPrecondition("step exchange: rank ", r, " is at step ", word.step, ", rank ",
                                group.rank(), " at step ", mine.step);
    }
    result.loss.Add(word.loss);
    result.tokens += word.tokens;
    result.stop |= word.stop != 0;
    result.parts_done &= word.part_done != 0;
    result.saves_ordered = std::max(result.saves_ordered, word.saves_ordered);
    all_hold &= word.next_hash != 0;
    hashes.push_back(word.next_hash);
    for (size_t i = 0; i < norms.size(); ++i) {
      ExactSum norm;
      std::memcpy(&norm, all.data() + r * stride + sizeof word + i * sizeof norm, sizeof norm);
      result.norms[i].Add(norm);
    }
  }
  if (all_hold && !AllEqual(hashes)) {
    return FailedPrecondition("ranks hold different directives for step ", mine.step + 1, ": ",
                              Differences(hashes));
  }
  result.next_agreed = all_hold;
  return result;
}

absl::StatusOr<std::vector<ExactSum>> ExchangeSums(Communicator& group,
                                                   const std::vector<ExactSum>& mine,
                                                   const std::string& what) {
  std::vector<ExactSum> all(mine.size() * group.size()), total(mine.size());
  RETURN_IF_ERROR(group.HostAllGather(
      mine.data(), static_cast<int64_t>(mine.size() * sizeof(ExactSum)), all.data(), what));
  for (size_t i = 0; i < all.size(); ++i) total[i % mine.size()].Add(all[i]);
  return total;
}

absl::Status AgreeOnDirective(Communicator& group, int64_t step,
                              const absl::StatusOr<Directive>& directive, bool* undirected) {
  struct Held {
    uint64_t hash = 0;
    int64_t code = 0;
  };
  const Held mine{directive.ok() ? directive->Hash() : 0,
                  static_cast<int64_t>(directive.status().code())};
  std::vector<Held> all(group.size());
  RETURN_IF_ERROR(
      group.HostAllGather(&mine, sizeof mine, all.data(), Cat("directive of step ", step)));
  constexpr auto kGone = static_cast<int64_t>(absl::StatusCode::kUnavailable);
  int failed = -1;
  std::vector<uint64_t> hashes;
  for (int r = 0; r < group.size(); ++r) {
    hashes.push_back(all[r].hash);
    if (all[r].code != 0 && (failed < 0 || (all[failed].code == kGone && all[r].code != kGone))) {
      failed = r;
    }
  }
  if (failed >= 0) {
    // Only the ranks that failed know why.
    const bool tells = mine.code == all[failed].code;
    ASSIGN_OR_RETURN(const Agreement why,
                     GatherStatus(&group, tells ? directive.status() : absl::OkStatus(),
                                  Cat("why step ", step, " has no directive")));
    if (undirected != nullptr) *undirected = true;
    return why.status;
  }
  const bool agreed = AllEqual(hashes);
  if (undirected != nullptr) *undirected = !agreed;
  if (agreed) return absl::OkStatus();
  return FailedPrecondition("ranks hold different directives for step ", step, ": ",
                            Differences(hashes));
}

}  // namespace blockstep
