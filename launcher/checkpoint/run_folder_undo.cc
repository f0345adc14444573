#include <filesystem>

#include "core/io/file_ops.h"
#include "launcher/checkpoint/run_folder.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> ContentOf(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadSmall(path);
  return text.ok() ? std::optional<std::string>(*text) : std::nullopt;
}

void PutBack(const std::string& path, const std::optional<std::string>& content) {
  const FileOps files;
  if (ContentOf(path) == content) return;
  (void)(content.has_value() ? files.ReplaceSmall(path, *content) : files.RemoveAll(path));
}

}  // namespace

void RunFolderUndo::Remember(const std::string& path, std::vector<std::string> made) {
  path_ = path;
  made_ = std::move(made);
  run_json_ = ContentOf(path + "/run.json");
  config_ = ContentOf(path + "/config.txt");
  folders_.clear();
  std::error_code ignored;
  for (fs::path p = fs::absolute(path, ignored).lexically_normal();
       !p.empty() && !fs::exists(p, ignored); p = p.parent_path()) {
    if (p.has_filename()) folders_.push_back(p.string());
  }
}

// Only names that opening a run writes are touched, and only empty folders: nothing else can go.
RunFolderUndo::~RunFolderUndo() {
  if (path_.empty()) return;
  const FileOps files;
  PutBack(path_ + "/run.json", run_json_);
  PutBack(path_ + "/config.txt", config_);
  for (const char* name : {"run.json.tmp", "config.txt.tmp"}) made_.push_back(name);
  for (const std::string& name : made_) (void)files.RemoveAll(path_ + "/" + name);
  std::error_code ignored;
  for (const std::string& folder : folders_) fs::remove(folder, ignored);
}

}  // namespace blockstep
