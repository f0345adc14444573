#include "launcher/checkpoint/retention.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "core/base/status.h"
#include "launcher/checkpoint/manifest.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "step-";

// The step in "step-00000100"; -1: another name.
int64_t StepOf(std::string_view name) {
  if (!name.starts_with(kPrefix)) return -1;
  name.remove_prefix(kPrefix.size());
  if (name.size() < 8 || name.size() > 18) return -1;
  if (name.find_first_not_of("0123456789") != std::string_view::npos) return -1;
  return std::stoll(std::string(name));
}

// What lies under checkpoints/. None if there is no such folder; one that is there but cannot be
// listed is an error.
absl::StatusOr<std::vector<fs::path>> Entries(const std::string& run_folder) {
  const std::string path = run_folder + "/checkpoints";
  std::vector<fs::path> found;
  std::error_code error;
  if (fs::symlink_status(path, error).type() == fs::file_type::not_found) return found;
  error.clear();
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    found.push_back(it->path());
  }
  if (error) return DataLoss("run ", run_folder, ": cannot list ", path, ": ", error.message());
  return found;
}

absl::StatusOr<std::vector<CheckpointName>> Folders(const std::string& run_folder) {
  ASSIGN_OR_RETURN(const std::vector<fs::path> entries, Entries(run_folder));
  std::vector<CheckpointName> found;
  for (const fs::path& entry : entries) {
    const int64_t step = StepOf(entry.filename().string());
    if (step >= 0) found.push_back({entry.string(), step});
  }
  std::sort(found.begin(), found.end(),
            [](const CheckpointName& a, const CheckpointName& b) { return a.step < b.step; });
  return found;
}

}  // namespace

std::string CheckpointFolder(const std::string& run_folder, int64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step-%08lld", static_cast<long long>(step));
  return run_folder + "/checkpoints/" + name;
}

std::vector<CheckpointName> ListCheckpoints(const std::string& run_folder) {
  std::vector<CheckpointName> announced;
  absl::StatusOr<std::vector<CheckpointName>> folders = Folders(run_folder);
  if (!folders.ok()) return announced;
  for (CheckpointName& name : *folders) {
    if (ReadManifest(name.folder).ok()) announced.push_back(std::move(name));
  }
  return announced;
}

absl::StatusOr<CheckpointName> LatestCheckpoint(const std::string& run_folder,
                                                std::string* passed_over) {
  ASSIGN_OR_RETURN(const std::vector<CheckpointName> folders, Folders(run_folder));
  bool lost = fs::exists(run_folder + "/" + kSavedName);
  std::string skipped;
  const auto tell = [&] {
    if (passed_over != nullptr) *passed_over = skipped;
  };
  for (auto it = folders.rbegin(); it != folders.rend(); ++it) {
    const absl::Status status = ReadManifest(it->folder).status();
    tell();
    if (status.ok()) return *it;
    if (absl::IsUnimplemented(status)) return status;  // a newer build's: do not go back silently
    skipped += Cat(skipped.empty() ? "" : "; ", it->folder, ": ", status.message());
    // Without a manifest it may be of a first save that died just before its announcement.
    lost = lost || !absl::IsNotFound(status);
  }
  tell();
  if (!lost) {
    return NotFound("run ", run_folder,
                    ": no checkpoint with a complete manifest under checkpoints/",
                    skipped.empty() ? "" : "; ", skipped);
  }
  return DataLoss("run ", run_folder,
                  ": no complete checkpoint under checkpoints/, although the run has saved: ",
                  skipped.empty() ? "no step-<n> folder at all" : skipped);
}

std::vector<int64_t> StepsToRemove(const std::vector<int64_t>& steps, const RetentionRule& rule) {
  const size_t last = static_cast<size_t>(std::max(rule.keep_last, 1));
  std::vector<int64_t> remove;
  for (size_t i = 0; i + last < steps.size(); ++i) {
    if (rule.keep_every > 0 && steps[i] % rule.keep_every == 0) continue;
    remove.push_back(steps[i]);
  }
  return remove;
}

absl::StatusOr<std::vector<std::string>> ApplyRetention(const std::string& run_folder,
                                                        const RetentionRule& rule, FileHook hook) {
  const FileOps files(std::move(hook));
  std::vector<int64_t> steps;
  for (const CheckpointName& name : ListCheckpoints(run_folder)) steps.push_back(name.step);
  std::vector<std::string> removed;
  for (const int64_t step : StepsToRemove(steps, rule)) {
    const std::string folder = CheckpointFolder(run_folder, step);
    RETURN_IF_ERROR(files.RemoveAll(folder + "/" + kManifestName));
    RETURN_IF_ERROR(files.FsyncFolder(folder));
    RETURN_IF_ERROR(files.RemoveAll(folder));
    removed.push_back(folder);
  }
  return removed;
}

absl::Status RemoveUnannounced(const std::string& run_folder, const FileOps& files) {
  ASSIGN_OR_RETURN(const std::vector<fs::path> entries, Entries(run_folder));
  for (const fs::path& entry : entries) {
    const bool temporary = entry.extension() == kTemporarySuffix;
    if (StepOf((temporary ? entry.stem() : entry.filename()).string()) < 0) continue;
    if (temporary || absl::IsNotFound(ReadManifest(entry.string()).status())) {
      RETURN_IF_ERROR(files.RemoveAll(entry.string()));
    }
  }
  return absl::OkStatus();
}

}  // namespace blockstep
