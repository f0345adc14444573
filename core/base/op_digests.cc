#include "core/base/op_digests.h"

#include <charconv>

#include "core/base/status.h"

namespace blockstep {

std::string OpRecordLine(const OpRecord& record) {
  const OpKey& k = record.key;
  return Cat(k.step, " ", k.pass, " ", static_cast<int>(k.part), " ", k.slot, " ", k.op, " ",
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
  const int part = number(int{});
  record.key.slot = number(int64_t{});
  record.key.op = number(int64_t{});
  record.digest.sum = number(uint64_t{});
  record.digest.elements = number(int64_t{});
  record.label = std::string(rest);
  if (!good || part < 0 || part > static_cast<int>(StepPart::kUpdate)) {
    return DataLoss("expected \"step pass part slot op sum elements label\", got \"", line, "\"");
  }
  record.key.part = static_cast<StepPart>(part);
  return record;
}

std::string OpDigestPath(const std::string& path, int rank) { return Cat(path, ".rank", rank); }

}  // namespace blockstep
