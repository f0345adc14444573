// What a file system owes after a power cut: data is safe once its writer has fsynced the file, a
// name (of a new file, or after a rename) once its folder has been fsynced. Fed with the operations
// of a save, it says what is unsafe, and does to real files the worst that a cut may do.
#pragma once

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/io/file_ops.h"

namespace blockstep {

class DiskModel {
 public:
  // `writer` tells ranks apart: one's fsync does not answer for another's writes, which may sit in
  // the page cache of another host.
  void Done(const FileOp& op, int writer) {
    switch (op.kind) {
      case FileOpKind::kCreate:
      case FileOpKind::kCreateFolder:
        unsafe_names_.insert(op.path);
        break;
      case FileOpKind::kAllocate:
      case FileOpKind::kWrite:
        dirty_.insert({op.path, writer});
        break;
      case FileOpKind::kFsync:
        dirty_.erase({op.path, writer});
        break;
      case FileOpKind::kRename:
        Move(op.path, op.to);
        unsafe_names_.insert(op.to);
        renames_.push_back({op.path, op.to});
        break;
      case FileOpKind::kFsyncFolder:
        std::erase_if(unsafe_names_, [&](const std::string& p) { return Parent(p) == op.path; });
        std::erase_if(renames_, [&](const auto& r) { return Parent(r.second) == op.path; });
        break;
      case FileOpKind::kRemove:
        std::erase_if(dirty_, [&](const auto& d) { return Under(d.first, op.path); });
        std::erase_if(unsafe_names_, [&](const std::string& p) { return Under(p, op.path); });
        break;
    }
  }

  // Data and names at or below `path` that a cut may take.
  std::set<std::string> Unsafe(const std::string& path) const {
    std::set<std::string> found;
    for (const auto& [p, writer] : dirty_) {
      if (Under(p, path)) found.insert("data of " + p);
    }
    for (const std::string& p : unsafe_names_) {
      if (p != path && Under(p, path)) found.insert("name of " + p);
    }
    return found;
  }

  // Unsafe data reads as zeros.
  void LoseData() const {
    for (const auto& [path, writer] : dirty_) {
      if (!std::filesystem::is_regular_file(path)) continue;
      const std::string zeros(std::filesystem::file_size(path), '\0');
      std::ofstream(path, std::ios::binary) << zeros;
    }
  }
  // Unsafe renames did not happen, files with unsafe names are gone.
  void LoseNames() const {
    std::set<std::string> renamed;
    for (auto r = renames_.rbegin(); r != renames_.rend(); ++r) {
      renamed.insert(r->second);
      std::error_code ignored;
      std::filesystem::rename(r->second, r->first, ignored);
    }
    for (const std::string& path : unsafe_names_) {
      if (!renamed.contains(path)) std::filesystem::remove_all(path);
    }
  }

 private:
  static std::string Parent(const std::string& path) {
    return std::filesystem::path(path).parent_path().string();
  }
  static bool Under(const std::string& path, const std::string& folder) {
    return path == folder || path.starts_with(folder + "/");
  }
  void Move(const std::string& from, const std::string& to) {
    const auto moved = [&](const std::string& path) {
      return Under(path, from) ? to + path.substr(from.size()) : path;
    };
    std::set<std::pair<std::string, int>> dirty;
    for (const auto& [path, writer] : dirty_) dirty.insert({moved(path), writer});
    dirty_ = std::move(dirty);
    std::set<std::string> names;
    for (const std::string& path : unsafe_names_) {
      if (path != from) names.insert(moved(path));
    }
    unsafe_names_ = std::move(names);
  }

  std::set<std::pair<std::string, int>> dirty_;
  std::set<std::string> unsafe_names_;
  std::vector<std::pair<std::string, std::string>> renames_;
};

}  // namespace blockstep
