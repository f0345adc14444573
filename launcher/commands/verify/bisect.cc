#include "launcher/commands/verify/bisect.h"

#include <filesystem>
#include <fstream>
#include <iomanip>
#include <map>
#include <sstream>
#include <vector>

#include "core/base/status.h"

namespace blockstep {
namespace {

// One record, put together from the ranks that have a part of it.
struct Merged {
  OpDigest digest;
  std::string label;
  std::vector<int> ranks;
};
using StepRecords = std::map<OpKey, Merged>;

// Reads a run step by step, so that memory holds one step.
class RunReader {
 public:
  static absl::StatusOr<RunReader> Open(const DigestedRun& run) {
    RunReader reader;
    for (int rank = 0; std::filesystem::exists(OpDigestPath(run.path, rank)); ++rank) {
      RankFile& file = reader.files_.emplace_back(RankFile{OpDigestPath(run.path, rank)});
      file.in.open(file.path);
      if (!file.in) return NotFound(file.path, ": cannot be read");
      RETURN_IF_ERROR(file.Advance());
    }
    if (reader.files_.empty()) {
      return NotFound(run.name, ": expected digests in ", OpDigestPath(run.path, 0),
                      ", got no file");
    }
    return reader;
  }

  // The records of the lowest step that is left; empty: none is.
  absl::StatusOr<StepRecords> Next() {
    std::optional<int64_t> step;
    for (const RankFile& f : files_) {
      if (f.next.has_value() && (!step.has_value() || f.next->key.step < *step)) {
        step = f.next->key.step;
      }
    }
    StepRecords records;
    for (size_t rank = 0; rank < files_.size(); ++rank) {
      RankFile& f = files_[rank];
      while (f.next.has_value() && f.next->key.step == *step) {
        Merged& merged = records[f.next->key];
        if (!merged.label.empty() && merged.label != f.next->label) {
          return DataLoss(f.path, ":", f.line, ": expected \"", merged.label, "\" as rank ",
                          merged.ranks[0], " has, got \"", f.next->label, "\"");
        }
        merged.digest.Add(f.next->digest);
        merged.label = f.next->label;
        merged.ranks.push_back(static_cast<int>(rank));
        RETURN_IF_ERROR(f.Advance());
      }
    }
    return records;
  }

 private:
  struct RankFile {
    std::string path;
    std::ifstream in = {};
    std::optional<OpRecord> next = {};
    int64_t line = 0;

    absl::Status Advance() {
      next.reset();
      std::string text;
      if (!std::getline(in, text)) return absl::OkStatus();
      ++line;
      absl::StatusOr<OpRecord> record = ParseOpRecord(text);
      if (!record.ok()) return Annotate(record.status(), Cat(path, ":", line));
      next = *std::move(record);
      return absl::OkStatus();
    }
  };
  std::vector<RankFile> files_;
};

// `label`: of the difference; the record's own is told where it is another one.
std::string Describe(const DigestedRun& run, const Merged* record, const std::string& label) {
  if (record == nullptr) return Cat("  ", run.name, ": no such op");
  std::string ranks;
  for (const int rank : record->ranks) ranks += Cat(ranks.empty() ? "" : ", ", rank);
  return Cat("  ", run.name, ": digest ", std::hex, std::setw(16), std::setfill('0'),
             record->digest.sum, std::dec, " of ", record->digest.elements,
             record->digest.elements == 1 ? " value" : " values", ", rank ", ranks,
             record->label == label ? "" : ", " + record->label);
}

}  // namespace

std::string DigestComparison::Text() const {
  if (!where.has_value()) {
    return Cat("all ", records, " digests of ", steps, steps == 1 ? " step" : " steps", " agree");
  }
  return Cat(
      "first difference: step ", where->step, where->pass > 0 ? Cat(", pass ", where->pass) : "",
      where->part == StepPart::kSlot ? Cat(", slot ", where->slot) : "", ", ", label, "\n", detail);
}

absl::StatusOr<DigestComparison> CompareDigests(const DigestedRun& a, const DigestedRun& b) {
  ASSIGN_OR_RETURN(RunReader first, RunReader::Open(a));
  ASSIGN_OR_RETURN(RunReader second, RunReader::Open(b));
  DigestComparison result;
  while (true) {
    ASSIGN_OR_RETURN(const StepRecords mine, first.Next());
    ASSIGN_OR_RETURN(const StepRecords other, second.Next());
    if (mine.empty() && other.empty()) return result;
    ++result.steps;
    auto x = mine.begin();
    auto y = other.begin();
    while (x != mine.end() || y != other.end()) {
      const bool has_x = x != mine.end() && (y == other.end() || x->first <= y->first);
      const bool has_y = y != other.end() && (x == mine.end() || y->first <= x->first);
      if (has_x && has_y && x->second.digest == y->second.digest &&
          x->second.label == y->second.label) {
        ++result.records, ++x, ++y;
        continue;
      }
      result.where = has_x ? x->first : y->first;
      result.label = has_x ? x->second.label : y->second.label;
      result.detail = Describe(a, has_x ? &x->second : nullptr, result.label) + "\n" +
                      Describe(b, has_y ? &y->second : nullptr, result.label);
      return result;
    }
  }
}

absl::StatusOr<VerifyCase> CaseNamed(const std::string& name) {
  VerifyCase c;
  std::istringstream parts(name);
  for (std::string* part : {&c.policy, &c.ranks, &c.placement, &c.coordinator, &c.transport}) {
    std::getline(parts, *part, '-');
  }
  const absl::Status known =
      Validate(VerifyAxes{{c.policy}, {c.ranks}, {c.placement}, {c.coordinator}, {c.transport}});
  if (!known.ok() || NameOf(c) != name) {
    return InvalidArgument("--bisect: expected a case as full-2-sharded-embedded-mpi, got '", name,
                           "'");
  }
  return c;
}

absl::StatusOr<DigestComparison> Bisect(const VerifyCase& a, const VerifyCase& b,
                                        const VerifySetup& setup) {
  VerifySetup with = setup;
  with.digests = true;
  for (const VerifyCase* c : {&a, &b}) RETURN_IF_ERROR(RunCase(*c, with).status());
  return CompareDigests({NameOf(a), DigestsOf(a, setup)}, {NameOf(b), DigestsOf(b, setup)});
}

}  // namespace blockstep
