#include "dist/agreement.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "core/base/sha256.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

struct StatusOnWire {
  int32_t code = 0;
  int32_t rank = 0, exit_code = 0;
  int32_t bytes = 0;
  char message[1008] = {};
};

}  // namespace

absl::StatusOr<Agreement> GatherStatus(Communicator* group, const absl::Status& mine,
                                       const std::string& what) {
  StatusOnWire wire;
  const ErrorFacts facts = FactsOf(mine);
  wire.code = static_cast<int32_t>(mine.code());
  wire.rank = facts.rank;
  wire.exit_code = facts.exit_code;
  wire.bytes = static_cast<int32_t>(std::min(mine.message().size(), sizeof(wire.message)));
  std::copy_n(mine.message().begin(), wire.bytes, wire.message);
  std::vector<StatusOnWire> all(static_cast<size_t>(group->size()));
  RETURN_IF_ERROR(group->HostAllGather(&wire, sizeof(wire), all.data(), what));
  for (int rank = 0; rank < group->size(); ++rank) {
    const RankOf where{.rank = rank, .ranks = group->size()};
    const StatusOnWire& one = all[static_cast<size_t>(rank)];
    if (one.code == 0) continue;
    if (rank == group->rank()) return Agreement{OnRank(mine, where)};
    const absl::Status theirs(static_cast<absl::StatusCode>(one.code),
                              {one.message, static_cast<size_t>(one.bytes)});
    return Agreement{
        OnRank(WithFacts(theirs, {.rank = one.rank, .exit_code = one.exit_code}), where)};
  }
  return Agreement{};
}

absl::Status AgreeOnStatus(Communicator* group, const absl::Status& mine, const std::string& what) {
  ASSIGN_OR_RETURN(const Agreement agreed, GatherStatus(group, mine, what));
  return agreed.status;
}

absl::StatusOr<std::string> BroadcastText(Communicator* group, const std::string& text, int root,
                                          const std::string& what) {
  int64_t bytes = static_cast<int64_t>(text.size());
  group->Broadcast(&bytes, sizeof(bytes), root, what + ": size");
  RETURN_IF_ERROR(group->Synchronize());
  std::string out = group->rank() == root ? text : std::string(static_cast<size_t>(bytes), '\0');
  if (bytes > 0) {
    group->Broadcast(out.data(), bytes, root, what);
    RETURN_IF_ERROR(group->Synchronize());
  }
  return out;
}

absl::StatusOr<std::vector<std::string>> GatherText(Communicator* group, const std::string& mine,
                                                    const std::string& what) {
  const size_t ranks = static_cast<size_t>(group->size());
  const int64_t bytes = static_cast<int64_t>(mine.size());
  std::vector<int64_t> sizes(ranks);
  RETURN_IF_ERROR(group->HostAllGather(&bytes, sizeof(bytes), sizes.data(), what + ": sizes"));
  std::vector<std::string> texts;
  std::vector<PeerRecv> recvs;
  if (group->rank() == 0) {
    texts.resize(ranks);
    for (size_t r = 0; r < ranks; ++r) {
      texts[r].resize(static_cast<size_t>(sizes[r]));
      if (sizes[r] > 0) recvs.push_back({static_cast<int>(r), texts[r].data(), sizes[r]});
    }
  }
  std::vector<PeerSend> sends;
  if (bytes > 0) sends.push_back({0, mine.data(), bytes});
  group->Exchange(std::move(sends), std::move(recvs), what);
  RETURN_IF_ERROR(group->Synchronize());
  return texts;
}

namespace {

std::string Difference(const std::vector<std::string>& texts) {
  std::string others, first;
  for (size_t r = 1; r < texts.size(); ++r) {
    if (texts[r] == texts[0]) continue;
    others += Cat(others.empty() ? "" : ", ", r);
    if (!first.empty()) continue;
    std::istringstream here(texts[r]), wanted(texts[0]);
    std::string a, b;
    do {
      if (!std::getline(here, a)) a = "nothing";
      if (!std::getline(wanted, b)) b = "nothing";
    } while (a == b && (here || wanted));
    first = Cat("rank ", r, ": expected ", b, " (as on rank 0), got ", a);
  }
  return Cat(first, "; ranks that differ from rank 0: ", others);
}

}  // namespace

absl::Status AgreeOnLines(Communicator& group, const std::string& lines) {
  const uint64_t mine = Hash64(lines);
  std::vector<uint64_t> all(static_cast<size_t>(group.size()));
  RETURN_IF_ERROR(group.HostAllGather(&mine, sizeof mine, all.data(), "what ranks were given"));
  const auto other = std::find_if(all.begin(), all.end(), [&](uint64_t h) { return h != all[0]; });
  if (other == all.end()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                   GatherText(&group, lines, "what ranks were given"));
  ASSIGN_OR_RETURN(
      const std::string difference,
      BroadcastText(&group, group.rank() == 0 ? Difference(texts) : "", 0, "how ranks differ"));
  // The text begins with that rank already.
  return WithFacts(FailedPrecondition(difference), {.rank = static_cast<int>(other - all.begin())});
}

}  // namespace blockstep
