// A folder of safetensors files as Hugging Face writes it.
#include <sys/stat.h>

#include <algorithm>

#include "core/base/shown.h"
#include "core/base/status.h"
#include "core/data/safetensors.h"
#include "core/io/json_text.h"
#include "nlohmann/json.hpp"

namespace blockstep {
namespace {

bool Exists(const std::string& path) {
  struct stat info = {};
  return ::stat(path.c_str(), &info) == 0;
}

std::string ShapeText(const SafetensorsEntry& entry) { return nlohmann::json(entry.shape).dump(); }

bool Ignored(const std::string& name, const TensorTable& table) {
  return (table.tied && name == "lm_head.weight") || name.ends_with("rotary_emb.inv_freq");
}

// Name of each tensor's file, from the index.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmall(path, kMaxSafetensorsHeader));
  const absl::StatusOr<nlohmann::json> parsed = ParseJson(text);
  if (!parsed.ok()) return DataLoss(path, ": ", parsed.status().message());
  const nlohmann::json& index = *parsed;
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return DataLoss(path, ": expected a JSON object with a weight_map");
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, file] : index["weight_map"].items()) {
    const std::string text_of = file.is_string() ? file.get<std::string>() : "";
    if (text_of.empty() || text_of.find('/') != std::string::npos) {
      return DataLoss(path, ": tensor ", Shown(name),
                      ": expected a file name without folders, got ", Shown(file.dump()));
    }
    files[name] = text_of;
  }
  return files;
}

}  // namespace

absl::StatusOr<SafetensorsFolder> SafetensorsFolder::Open(const std::string& folder) {
  SafetensorsFolder result;
  result.path_ = folder;
  const std::string single = folder + "/model.safetensors";
  const std::string index = folder + "/model.safetensors.index.json";
  if (Exists(single)) {
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(single));
    for (const SafetensorsEntry& e : file.entries()) result.file_of_[e.name] = 0;
    result.files_.push_back(std::move(file));
    return result;
  }
  if (!Exists(index)) {
    return NotFound(folder,
                    ": expected model.safetensors or model.safetensors.index.json, got neither");
  }
  ASSIGN_OR_RETURN(const auto files, ReadIndex(index));
  std::map<std::string, size_t> opened;
  for (const auto& [name, file_name] : files) {
    auto [at, fresh] = opened.try_emplace(file_name, result.files_.size());
    if (fresh) {
      ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(folder + "/" + file_name));
      result.files_.push_back(std::move(file));
    }
    if (result.files_[at->second].Find(name) == nullptr) {
      return DataLoss(index, ": tensor ", Shown(name), " is not in ", Shown(file_name));
    }
    result.file_of_[name] = at->second;
  }
  return result;
}

std::vector<std::string> SafetensorsFolder::Files() const {
  std::vector<std::string> paths;
  for (const SafetensorsFile& file : files_) paths.push_back(file.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

const SafetensorsFile* SafetensorsFolder::FileOf(std::string_view name) const {
  const auto at = file_of_.find(name);
  return at == file_of_.end() ? nullptr : &files_[at->second];
}

const SafetensorsEntry* SafetensorsFolder::Find(std::string_view name) const {
  const SafetensorsFile* file = FileOf(name);
  return file == nullptr ? nullptr : file->Find(name);
}

absl::Status SafetensorsFolder::ReadRows(std::string_view name, Range rows, float* out) const {
  const SafetensorsFile* file = FileOf(name);
  if (file == nullptr) return NotFound(path_, ": no tensor ", name);
  return file->ReadRows(name, rows, out);
}

absl::Status SafetensorsFolder::Matches(const TensorTable& table) const {
  std::string wrong;
  constexpr int kMostUnexpected = 20;  // a hostile file may hold a million
  int unexpected = 0;
  for (const TensorInfo& t : table.tensors) {
    const SafetensorsEntry* found = Find(t.name);
    const SafetensorsEntry wanted = EntryOf(t);
    if (found == nullptr) {
      wrong += Cat("\n  missing: ", t.name);
    } else if (found->shape != wanted.shape) {
      wrong += Cat("\n  ", t.name, ": expected shape ", ShapeText(wanted), ", got ",
                   Shown(ShapeText(*found)));
    } else if (found->dtype != "F32" && found->dtype != "BF16" && found->dtype != "F16") {
      wrong += Cat("\n  ", t.name, ": expected dtype F32, BF16 or F16, got ", found->dtype);
    }
  }
  for (const auto& [name, file] : file_of_) {
    if (table.Find(name) >= 0 || Ignored(name, table)) continue;
    if (++unexpected <= kMostUnexpected) wrong += Cat("\n  unexpected: ", Shown(name));
  }
  if (unexpected > kMostUnexpected) {
    wrong += Cat("\n  and ", unexpected - kMostUnexpected, " more that are unexpected");
  }
  if (wrong.empty()) return absl::OkStatus();
  return DataLoss(path_, ": weights do not match the configuration:", wrong);
}

}  // namespace blockstep
