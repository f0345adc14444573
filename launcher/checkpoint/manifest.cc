#include "launcher/checkpoint/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/io/file_ops.h"

namespace blockstep {
namespace {

using Json = nlohmann::ordered_json;
constexpr char kFormat[] = "blockstep-checkpoint";

std::string Sha256Of(std::string_view text) {
  Sha256 sha;
  sha.Update(text);
  return sha.Hex();
}

Json TensorJson(const ManifestTensor& t) {
  Json j;
  j["name"] = t.name;
  if (!t.state.empty()) {
    j["state"] = t.state;
    j["replicated"] = t.layout == StateLayout::kReplicated;
    j["entry_rows"] = {t.entry_rows.begin, t.entry_rows.end};
  }
  j["tensor"] = t.tensor;
  j["dtype"] = DTypeName(t.dtype);
  j["rows"] = {t.rows.begin, t.rows.end};
  j["cols"] = t.cols;
  j["file"] = t.file;
  j["offset"] = t.offset;
  j["slices"] = Json::array();
  for (const ManifestSlice& s : t.slices) {
    j["slices"].push_back({s.rows.begin, s.rows.end, s.sha256});
  }
  return j;
}

ManifestTensor TensorFromJson(const Json& j, absl::Status& status, std::string_view where) {
  ManifestTensor t;
  t.name = j.at("name");
  t.state = j.value("state", "");
  if (j.value("replicated", false)) t.layout = StateLayout::kReplicated;
  t.tensor = j.at("tensor");
  auto dtype = ParseDType(j.at("dtype").get<std::string>(), where);
  if (dtype.ok()) {
    t.dtype = *dtype;
  } else {
    status = dtype.status();
  }
  t.rows = {j.at("rows").at(0), j.at("rows").at(1)};
  t.entry_rows =
      j.contains("entry_rows") ? Range{j.at("entry_rows").at(0), j.at("entry_rows").at(1)} : t.rows;
  t.cols = j.at("cols");
  t.file = j.at("file");
  t.offset = j.at("offset");
  for (const Json& s : j.at("slices")) {
    t.slices.push_back({Range{s.at(0), s.at(1)}, s.at(2).get<std::string>()});
  }
  return t;
}

absl::Status CheckNames(const Manifest& m, const std::string& where) {
  for (const ManifestFile& file : m.files) {
    if (file.name.empty() || file.name[0] == '/' || file.name.find("..") != std::string::npos ||
        file.hashed_bytes < 0 || file.hashed_bytes > file.bytes) {
      return DataLoss(where, ": file \"", file.name,
                      "\" lies outside the checkpoint or has impossible sizes (", file.hashed_bytes,
                      " of ", file.bytes, " bytes hashed)");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTensors(const Manifest& m, const std::string& where) {
  int64_t weights = 0;
  for (const ManifestTensor& t : m.tensors) {
    if (t.state.empty() && t.tensor != weights++) {
      return DataLoss(where, ": weight ", t.name, ": expected index ", weights - 1, ", got ",
                      t.tensor);
    }
  }
  for (const ManifestTensor& t : m.tensors) {
    const std::string what =
        Cat(where, ": tensor ", t.name, t.state.empty() ? "" : " state ", t.state);
    if (t.tensor < 0 || t.tensor >= weights) return DataLoss(what, ": no weight ", t.tensor);
    if (t.file < 0 || t.file >= static_cast<int64_t>(m.files.size())) {
      return DataLoss(what, ": file index ", t.file, " of ", m.files.size());
    }
    const ManifestFile& file = m.files[static_cast<size_t>(t.file)];
    int64_t bytes = 0;
    if (t.cols <= 0 || t.rows.begin < 0 || t.rows.end < t.rows.begin ||
        __builtin_mul_overflow(t.rows.size(), t.row_bytes(), &bytes) ||
        t.offset < file.hashed_bytes || t.offset > file.bytes - bytes) {
      return DataLoss(what, ": rows [", t.rows.begin, ",", t.rows.end, ") of ", t.cols,
                      " columns at byte ", t.offset, " do not fit in ", file.name, " of ",
                      file.bytes, " bytes");
    }
    RETURN_IF_ERROR(CheckTiling(t, what));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DType> ParseDType(std::string_view name, std::string_view where) {
  for (const DType t :
       {DType::kF32, DType::kBF16, DType::kF64, DType::kI32, DType::kI64, DType::kU8}) {
    if (name == DTypeName(t)) return t;
  }
  return DataLoss(where, ": unknown dtype ", name);
}

absl::Status CheckTiling(const ManifestTensor& t, std::string_view where) {
  int64_t next = t.rows.begin;
  for (const ManifestSlice& s : t.slices) {
    if (s.rows.begin != next || s.rows.end <= s.rows.begin || s.rows.end > t.rows.end) {
      return DataLoss(where, ": expected a slice that begins at row ", next, " and ends by ",
                      t.rows.end, ", got rows [", s.rows.begin, ",", s.rows.end, ")");
    }
    next = s.rows.end;
  }
  if (next != t.rows.end) {
    return DataLoss(where, ": expected slices up to row ", t.rows.end, ", got ", next);
  }
  return absl::OkStatus();
}

std::string SlicesText(const std::vector<WrittenSlice>& slices) {
  std::ostringstream out;
  for (const WrittenSlice& s : slices) {
    out << s.tensor << ' ' << s.rows.begin << ' ' << s.rows.end << ' ' << s.sha256 << '\n';
  }
  return std::move(out).str();
}

absl::StatusOr<Manifest> MakeManifest(const CheckpointContents& contents,
                                      const CheckpointLayout& layout,
                                      const std::vector<ManifestFile>& small_files,
                                      const std::vector<std::string>& slices_of_ranks) {
  Manifest m;
  m.step = contents.trainer.step;
  m.run_id = contents.trainer.run_id;
  m.config_hash = contents.trainer.config_hash;
  for (const PlannedFile& file : layout.files) {
    Sha256 sha;
    sha.Update(file.header);
    m.files.push_back({file.name, file.bytes, static_cast<int64_t>(file.header.size()), sha.Hex()});
  }
  m.files.insert(m.files.end(), small_files.begin(), small_files.end());
  const TensorTable& table = *contents.weights.table;
  for (const PlannedTensor& t : layout.tensors) {
    const Range entry_rows =
        t.source < 0 ? t.rows : contents.states[static_cast<size_t>(t.source)].rows;
    m.tensors.push_back({table.tensors[static_cast<size_t>(t.tensor)].name,
                         t.state,
                         t.tensor,
                         t.layout,
                         t.dtype,
                         entry_rows,
                         t.rows,
                         t.cols,
                         t.file,
                         t.offset,
                         {}});
  }
  for (const std::string& text : slices_of_ranks) {
    std::istringstream in(text);
    WrittenSlice s;
    while (in >> s.tensor >> s.rows.begin >> s.rows.end >> s.sha256) {
      m.tensors[static_cast<size_t>(s.tensor)].slices.push_back({s.rows, s.sha256});
    }
  }
  for (ManifestTensor& t : m.tensors) {
    std::sort(t.slices.begin(), t.slices.end(), [](const ManifestSlice& a, const ManifestSlice& b) {
      return a.rows.begin < b.rows.begin;
    });
    RETURN_IF_ERROR(CheckTiling(
        t, Cat("checkpoint at step ", m.step, ": tensor ", t.name, t.state.empty() ? "" : " state ",
               t.state, ": the rows written by the ranks overlap or leave gaps")));
  }
  return m;
}

std::string ManifestJson(const Manifest& m) {
  Json j;
  j["format"] = kFormat;
  j["version"] = kManifestVersion;
  j["step"] = m.step;
  j["run_id"] = m.run_id;
  j["config_hash"] = m.config_hash;
  j["files"] = Json::array();
  for (const ManifestFile& f : m.files) {
    j["files"].push_back(Json{{"name", f.name},
                              {"bytes", f.bytes},
                              {"hashed_bytes", f.hashed_bytes},
                              {"sha256", f.sha256}});
  }
  j["tensors"] = Json::array();
  for (const ManifestTensor& t : m.tensors) j["tensors"].push_back(TensorJson(t));
  // The manifest's own hash is over everything before it, so that a flipped digit in a shape shows
  // too.
  const std::string hash = Sha256Of(j.dump());
  j["sha256"] = hash;
  return j.dump(1) + "\n";
}

absl::StatusOr<Manifest> ReadManifest(const std::string& folder) {
  const std::string path = folder + "/" + kManifestName;
  ASSIGN_OR_RETURN(const std::string text, ReadSmall(path));
  // Library exceptions end here; nothing below is trusted until the hash agrees.
  Json j = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!j.is_object() || j.value("format", Json()) != Json(kFormat)) {
    return DataLoss(path, ": not a ", kFormat, " manifest");
  }
  const Json version = j.value("version", Json());
  if (!version.is_number_integer()) return DataLoss(path, ": no format version");
  if (version.get<int64_t>() != kManifestVersion) {
    return Unimplemented(path, ": expected format version ", kManifestVersion, ", got ",
                         version.get<int64_t>(),
                         version.get<int64_t>() > kManifestVersion ? "; use a newer build" : "");
  }
  const Json stated = j.value("sha256", Json());
  j.erase("sha256");
  if (const std::string found = Sha256Of(j.dump()); stated != Json(found)) {
    return DataLoss(path, ": corrupt: expected sha256 ", stated.dump(), ", got ", found);
  }
  Manifest m;
  absl::Status status;
  try {
    m.step = j.at("step");
    m.run_id = j.at("run_id");
    m.config_hash = j.at("config_hash");
    for (const Json& f : j.at("files")) {
      m.files.push_back({f.at("name"), f.at("bytes"), f.at("hashed_bytes"), f.at("sha256")});
    }
    for (const Json& t : j.at("tensors")) m.tensors.push_back(TensorFromJson(t, status, path));
  } catch (const Json::exception& e) {
    return DataLoss(path, ": ", e.what());
  }
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(CheckNames(m, path));
  RETURN_IF_ERROR(CheckTensors(m, path));
  return m;
}

}  // namespace blockstep
