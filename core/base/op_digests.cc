#include "core/base/op_digests.h"

#include <charconv>

#include "core/base/status.h"

namespace blockstep {

std::string OpRecordLine(const OpRecord& record) {
  const OpKey& k = record.key;
  return Cat(k.step, " ", k.pass, " ", static_cast<int>(k.stage), " ", k.slot, " ", k.place, " ",
             record.digest.sum, " ", record.digest.elements, " ", record.label, "\n");
}

absl::StatusOr<OpRecord> ParseOpRecord(std::string_view line) {
  std::string_view rest = line;
  bool good = true;
  const auto number = [&](auto like) {
    decltype(like) value = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    good &= error == std::errc() && end < rest.data() + rest.size() && *end == ' ';
    if (good) rest.remove_prefix(static_cast<size_t>(end - rest.data()) + 1);
    return value;
  };
  OpRecord record;
  record.key.step = number(int64_t{});
  record.key.pass = number(int64_t{});
  const int stage = number(int{});
  record.key.slot = number(int64_t{});
  record.key.place = number(int64_t{});
  record.digest.sum = number(uint64_t{});
  record.digest.elements = number(int64_t{});
  record.label = std::string(rest);
  if (!good || stage < 0 || stage > static_cast<int>(OpStage::kUpdate)) {
    return DataLoss("expected \"step pass stage slot place sum elements label\", got \"", line,
                    "\"");
  }
  record.key.stage = static_cast<OpStage>(stage);
  return record;
}

std::string OpDigestPath(const std::string& path, int rank) { return Cat(path, ".rank", rank); }

}  // namespace blockstep
