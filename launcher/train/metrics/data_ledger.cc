#include "launcher/train/metrics/data_ledger.h"

#include <cstdio>
#include <filesystem>

#include "core/base/status.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;

std::string NameOf(int rank) {
  char name[32];
  std::snprintf(name, sizeof name, "rank-%05d.jsonl", rank);
  return name;
}

}  // namespace

absl::StatusOr<DataLedger> DataLedger::Open(const DataLedgerOptions& o) {
  std::error_code error;
  fs::create_directories(o.folder, error);
  if (error) return ResourceExhausted("cannot create ", o.folder, ": ", error.message());
  for (fs::directory_iterator it(o.folder, error), end; !error && it != end; it.increment(error)) {
    int rank = -1;
    const std::string name = it->path().filename();
    if (std::sscanf(name.c_str(), "rank-%d", &rank) != 1 || name != NameOf(rank)) continue;
    if (rank % o.ranks == o.rank) {
      RETURN_IF_ERROR(JsonLinesWriter::Open(it->path(), o.next_step).status());
    }
  }
  if (error) return ResourceExhausted("cannot read ", o.folder, ": ", error.message());
  ASSIGN_OR_RETURN(JsonLinesWriter lines,
                   JsonLinesWriter::Open(o.folder + "/" + NameOf(o.rank), o.next_step));
  return DataLedger(std::move(lines));
}

absl::Status DataLedger::Write(int64_t step, std::span<const SlotRecord> slots) {
  pass_ = step == step_ ? pass_ + 1 : 0;
  step_ = step;
  for (const SlotRecord& slot : slots) {
    RETURN_IF_ERROR(
        lines_.Write({.step = step,
                      .values = {{"pass", static_cast<double>(pass_)},
                                 {"position", static_cast<double>(slot.position)},
                                 {"epoch", static_cast<double>(slot.ref.epoch)},
                                 {"slot", static_cast<double>(slot.ref.slot)},
                                 {"file", static_cast<double>(slot.file)},
                                 {"first_token", static_cast<double>(slot.first_token)}}}));
  }
  return absl::OkStatus();
}

}  // namespace blockstep
