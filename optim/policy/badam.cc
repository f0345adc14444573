#include "optim/policy/badam.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/base/check.h"
#include "core/base/philox.h"
#include "core/base/status.h"
#include "optim/policy/state_text.h"

namespace blockstep {
namespace {

// A permutation of [0, n): Fisher-Yates over counter-based draws.
std::vector<size_t> Permutation(uint64_t seed, uint32_t cycle, size_t n) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = n; i > 1; --i) {
    const size_t j = UniformBelow(DrawU64(seed, RandomUse::kBlockOrder, cycle, i - 1), i);
    std::swap(order[i - 1], order[j]);
  }
  return order;
}

}  // namespace

BadamPolicy::BadamPolicy(const PolicyConfig& config, const TensorTable& table)
    : config_(config), blocks_(BadamBlocks(config, table)) {
  CHECK(!blocks_.empty());
}

size_t BadamPolicy::BlockOf(int64_t phase) const {
  const size_t count = blocks_.size();
  const size_t position = static_cast<size_t>(phase) % count;
  switch (config_.order) {
    case BlockOrder::kAscending:
      return position;
    case BlockOrder::kDescending:
      return count - 1 - position;
    case BlockOrder::kRandom:
      break;
  }
  const auto cycle = static_cast<uint32_t>(static_cast<size_t>(phase) / count);
  return Permutation(config_.seed, cycle, count)[position];
}

std::vector<Directive> BadamPolicy::IssueThrough(int64_t step) {
  std::vector<Directive> directives;
  const int64_t k = config_.block_steps;
  // Both: enough phases to keep messages rare, and every step of the horizon where K is small.
  const int64_t last_phase = std::max(step / k + kPhasesAhead, (step + 1 + config_.lag) / k);
  // Divisions, not next_phase_ * k: K may be as large as "never switch".
  const int64_t final_phase = (config_.total_steps - 1) / k;
  for (; next_phase_ <= std::min(last_phase, final_phase); ++next_phase_) {
    const BadamBlock& block = blocks_[BlockOf(next_phase_)];
    Directive d;
    d.from = next_phase_ * k;
    d.through = next_phase_ == final_phase ? config_.total_steps - 1 : d.from + k - 1;
    d.phase = next_phase_;
    d.sets.assign(config_.groups, block.set);
    d.label = block.label;
    directives.push_back(std::move(d));
  }
  return directives;
}

std::vector<Directive> BadamPolicy::OnReport(const StepReport& report) {
  return IssueThrough(report.step + 1);
}

std::string BadamPolicy::SaveState() const {
  StateWriter writer(name());
  writer.Ints("blocks", {static_cast<int64_t>(blocks_.size())});
  writer.Ints("block_steps", {config_.block_steps});
  writer.Ints("next_phase", {next_phase_});
  return writer.Finish();
}

absl::Status BadamPolicy::LoadState(std::string_view state) {
  ASSIGN_OR_RETURN(const StateReader reader, StateReader::Parse(state, name()));
  const auto blocks = static_cast<int64_t>(blocks_.size());
  RETURN_IF_ERROR(reader.Int("blocks", blocks, blocks).status());
  // Another K would number the phases anew in the middle of one.
  const int64_t k = config_.block_steps;
  RETURN_IF_ERROR(reader.Int("block_steps", k, k).status());
  ASSIGN_OR_RETURN(next_phase_,
                   reader.Int("next_phase", 0, std::numeric_limits<int64_t>::max() - 1));
  return absl::OkStatus();
}

std::vector<Directive> BadamPolicy::Continue(int64_t step, std::vector<Directive> issued) {
  const int64_t k = config_.block_steps, final_phase = (config_.total_steps - 1) / k;
  if (issued.empty()) {
    next_phase_ = step / k;  // the run that saved ended here
  } else {
    // That run's end may have cut it.
    issued.back().through = next_phase_ > final_phase ? config_.total_steps : next_phase_ * k - 1;
  }
  for (Directive& directive : IssueThrough(step)) issued.push_back(std::move(directive));
  return TruncateAt(config_.total_steps, std::move(issued));
}

}  // namespace blockstep
