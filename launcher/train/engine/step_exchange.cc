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

size_t WordBytes(size_t norms) { return sizeof(RankWord) + norms * sizeof(ExactSum); }

std::vector<char> Packed(const RankWord& word, const std::vector<ExactSum>& norms) {
  std::vector<char> bytes(WordBytes(norms.size()));
  std::memcpy(bytes.data(), &word, sizeof word);
  if (!norms.empty()) {
    std::memcpy(bytes.data() + sizeof word, norms.data(), norms.size() * sizeof(ExactSum));
  }
  return bytes;
}

}  // namespace

TokenCount::TokenCount(Communicator& control, int64_t mine, int64_t step)
    : gather_(control, &mine, sizeof mine, Cat("tokens of step ", step)) {}

absl::StatusOr<int64_t> TokenCount::Total() {
  ASSIGN_OR_RETURN(const std::span<const char> all, gather_.Finish());
  int64_t total = 0;
  for (size_t at = 0; at < all.size(); at += sizeof(int64_t)) {
    int64_t tokens = 0;
    std::memcpy(&tokens, all.data() + at, sizeof tokens);
    total += tokens;
  }
  return total;
}

StepExchange::StepExchange(Communicator& control, const RankWord& mine,
                           const std::vector<ExactSum>& norms)
    : rank_(control.rank()),
      step_(mine.step),
      norms_(norms.size()),
      gather_(control, Packed(mine, norms).data(), static_cast<int64_t>(WordBytes(norms_)),
              Cat("exchange of step ", mine.step)) {}

absl::StatusOr<ExchangeResult> StepExchange::Finish() {
  ASSIGN_OR_RETURN(const std::span<const char> all, gather_.Finish());
  const size_t stride = WordBytes(norms_);
  ExchangeResult result;
  result.norms.resize(norms_);
  std::vector<uint64_t> hashes;
  bool all_hold = true;
  for (size_t r = 0; r < all.size() / stride; ++r) {
    const char* at = all.data() + r * stride;
    RankWord word;
    std::memcpy(&word, at, sizeof word);
    if (word.step != step_) {
      return FailedPrecondition("step exchange: rank ", r, " is at step ", word.step, ", rank ",
                                rank_, " at step ", step_);
    }
    result.loss.Add(word.loss);
    result.stop |= word.stop != 0;
    result.parts_done &= word.part_done != 0;
    result.saves_ordered = std::max(result.saves_ordered, word.saves_ordered);
    all_hold &= word.next_hash != 0;
    hashes.push_back(word.next_hash);
    for (size_t i = 0; i < norms_; ++i) {
      ExactSum norm;
      std::memcpy(&norm, at + sizeof word + i * sizeof norm, sizeof norm);
      result.norms[i].Add(norm);
    }
  }
  if (all_hold && !AllEqual(hashes)) {
    return FailedPrecondition("ranks hold different directives for step ", step_ + 1, ": ",
                              Differences(hashes));
  }
  result.next_agreed = all_hold;
  return result;
}

absl::StatusOr<std::vector<ExactSum>> ExchangeSums(Communicator& control,
                                                   const std::vector<ExactSum>& mine,
                                                   const std::string& what) {
  std::vector<ExactSum> all(mine.size() * control.size()), total(mine.size());
  RETURN_IF_ERROR(control.HostAllGather(
      mine.data(), static_cast<int64_t>(mine.size() * sizeof(ExactSum)), all.data(), what));
  for (size_t i = 0; i < all.size(); ++i) total[i % mine.size()].Add(all[i]);
  return total;
}

absl::Status AgreeOnDirective(Communicator& control, int64_t step,
                              const absl::StatusOr<Directive>& directive, bool* undirected) {
  struct Held {
    uint64_t hash = 0;
    int64_t code = 0;
  };
  const Held mine{directive.ok() ? directive->Hash() : 0,
                  static_cast<int64_t>(directive.status().code())};
  std::vector<Held> all(control.size());
  RETURN_IF_ERROR(
      control.HostAllGather(&mine, sizeof mine, all.data(), Cat("directive of step ", step)));
  constexpr auto kGone = static_cast<int64_t>(absl::StatusCode::kUnavailable);
  int failed = -1;
  std::vector<uint64_t> hashes;
  for (int r = 0; r < control.size(); ++r) {
    hashes.push_back(all[r].hash);
    if (all[r].code != 0 && (failed < 0 || (all[failed].code == kGone && all[r].code != kGone))) {
      failed = r;
    }
  }
  if (failed >= 0) {
    // Only the ranks that failed know why.
    const bool tells = mine.code == all[failed].code;
    ASSIGN_OR_RETURN(const Agreement why,
                     GatherStatus(&control, tells ? directive.status() : absl::OkStatus(),
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
