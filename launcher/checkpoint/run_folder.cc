#include "launcher/checkpoint/run_folder.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "core/base/status.h"
#include "core/io/file_ops.h"
#include "dist/agreement.h"
#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/retention.h"
#include "launcher/config/train_config.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
constexpr char kPassedOver[] = "newer, but skipped: ";

// One stretch of a run under one configuration. run.json lists them, newest last.
struct Part {
  std::string run_id, parent_run_id, config_hash, maths_text, from_checkpoint;
  int64_t from_step = 0;
  std::string config_hash_then;  // as its checkpoints have it
};

std::string RunJson(const std::vector<Part>& parts) {
  Json j;
  j["format"] = "blockstep-run";
  j["version"] = 1;
  j["parts"] = Json::array();
  for (const Part& p : parts) {
    j["parts"].push_back(Json{{"run_id", p.run_id},
                              {"parent_run_id", p.parent_run_id},
                              {"from_checkpoint", p.from_checkpoint},
                              {"from_step", p.from_step},
                              {"config_hash", p.config_hash},
                              {"maths_version", kMathsVersion},
                              {"maths", p.maths_text}});
  }
  return j.dump(2) + "\n";
}

// A run of an earlier build is continued by this one if the maths are the same in today's words.
void Upgrade(Part& part, int version) {
  const std::string text = UpgradeMathsText(part.maths_text, version);
  if (text == part.maths_text || part.config_hash != HashOfText(part.maths_text)) return;
  part.maths_text = text;
  part.config_hash = HashOfText(text);
}

absl::StatusOr<std::vector<Part>> ReadRun(const std::string& run_folder) {
  const std::string path = run_folder + "/run.json";
  ASSIGN_OR_RETURN(const std::string text, ReadSmall(path));
  const Json j = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::vector<Part> parts;
  try {
    if (j.at("format") != "blockstep-run") return DataLoss(path, ": not a blockstep-run file");
    if (j.at("version") != 1) {
      return Unimplemented(path, ": expected format version 1, got ", j.at("version").dump());
    }
    for (const Json& p : j.at("parts")) {
      parts.push_back({p.at("run_id"), p.at("parent_run_id"), p.at("config_hash"), p.at("maths"),
                       p.at("from_checkpoint"), p.at("from_step"), p.at("config_hash")});
      Upgrade(parts.back(), p.value("maths_version", 1));
    }
  } catch (const Json::exception& e) {
    return DataLoss(path, ": corrupt: ", e.what());
  }
  if (parts.empty()) return DataLoss(path, ": corrupt: no parts");
  return parts;
}

absl::Status WriteRun(const std::string& path, const std::vector<Part>& parts,
                      const std::string& config_text) {
  const FileOps files;
  RETURN_IF_ERROR(files.ReplaceSmall(path + "/config.txt", config_text));
  return files.ReplaceSmall(path + "/run.json", RunJson(parts));
}

// The difference, or FAILED_PRECONDITION with it where it is not allowed.
absl::StatusOr<std::string> CompareMaths(const Part& was, const RunFolderOptions& options,
                                         const std::string& from) {
  if (was.config_hash == options.config_hash) return std::string();
  const std::string change = LineDifference(was.maths_text, options.maths_text);
  if (!options.allow_config_change) {
    return InvalidArgument("resume from ", from, ": the configuration has changed:\n", change,
                           "to continue anyway, as a new run_id, pass --allow-config-change "
                           "(incompatible policy state is reset)");
  }
  return change;
}

// Nothing is in the folder but what a start leaves there that died before it was a run.
bool IsUnfinishedStart(const std::string& run_folder) {
  static constexpr std::array<std::string_view, 4> kEarly = {kRunLockName, "config.txt",
                                                             "config.txt.tmp", "run.json.tmp"};
  std::error_code error;
  if (!fs::exists(run_folder + "/" + kRunLockName, error)) return false;
  for (fs::directory_iterator at(run_folder, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename();
    if (std::find(kEarly.begin(), kEarly.end(), name) == kEarly.end()) return false;
  }
  return !error;
}

absl::Status Lock(const RunFolderOptions& options) {
  if (options.lock == nullptr) return absl::OkStatus();
  return options.lock->Take(options.path, options.lock_wait_s, options.lock_note);
}

absl::StatusOr<RunFolder> StartRun(const RunFolderOptions& options, Part part, std::string change) {
  if (options.undo != nullptr) {
    options.undo->Remember(options.path, {"coordinator.json", kRunLockName});
  }
  // create_directories, not FileOps: a run folder may lie deeper than what exists.
  std::error_code error;
  fs::create_directories(options.path, error);
  if (error) return FileError("create run folder", options.path, error.value());
  absl::Status locked = Lock(options);
  if (locked.ok() && fs::exists(options.path + "/run.json")) {
    locked = absl::AlreadyExistsError(
        Cat("run folder ", options.path, ": another process has just started a run there"));
  }
  if (!locked.ok()) {
    // What is there now is that process's.
    const bool mine = !fs::exists(options.path + "/" + kRunLockName);
    if (options.undo != nullptr && !mine) options.undo->Keep();
    return locked;
  }
  part.run_id = options.new_id();
  part.config_hash = options.config_hash;
  part.maths_text = options.maths_text;
  RETURN_IF_ERROR(WriteRun(options.path, {part}, options.config_text));
  return RunFolder{options.path,         part.run_id,    part.parent_run_id,
                   part.from_checkpoint, part.from_step, std::move(change)};
}

absl::StatusOr<RunFolder> ContinueRun(const RunFolderOptions& options) {
  const absl::Status locked = Lock(options);
  if (!locked.ok() && !absl::IsPermissionDenied(locked)) return locked;
  ASSIGN_OR_RETURN(std::vector<Part> parts, ReadRun(options.path));
  ASSIGN_OR_RETURN(std::string change, CompareMaths(parts.back(), options, options.path));
  RunFolder run{.path = options.path};
  std::string passed_over;
  const absl::StatusOr<CheckpointName> latest = LatestCheckpoint(options.path, &passed_over);
  if (latest.ok()) {
    run.resume_from = latest->folder;
    run.resume_step = latest->step;
    if (!passed_over.empty()) run.note = kPassedOver + passed_over;
  } else if (absl::IsDataLoss(latest.status())) {
    return DataLoss(latest.status().message(),
                    "; nothing was changed: restore a complete checkpoint, choose a new --run "
                    "folder, or remove ",
                    options.path, " to start over");
  } else if (!absl::IsNotFound(latest.status())) {
    return latest.status();
  } else if (!parts.front().from_checkpoint.empty()) {
    // A fork that died before its first save starts from its parent's checkpoint again.
    run.resume_from = parts.front().from_checkpoint;
    run.resume_step = parts.front().from_step;
  }
  if (!latest.ok()) {
    run.note = Cat("no checkpoint found; starting over from ",
                   run.resume_from.empty() ? "step 0" : run.resume_from,
                   passed_over.empty() ? "" : "; skipped: ", passed_over);
  }
  // A finished run is only looked at.
  if (run.resume_step < options.steps || !change.empty()) RETURN_IF_ERROR(locked);
  if (!change.empty()) {
    const std::string moved = "config-" + parts.back().run_id + ".txt";
    if (options.undo != nullptr) options.undo->Remember(options.path, {moved});
    RETURN_IF_ERROR(FileOps().Rename(options.path + "/config.txt", options.path + "/" + moved));
    parts.push_back({options.new_id(), parts.back().run_id, options.config_hash, options.maths_text,
                     run.resume_from, run.resume_step});
    RETURN_IF_ERROR(WriteRun(options.path, parts, options.config_text));
  }
  run.run_id = parts.back().run_id;
  run.parent_run_id = parts.back().parent_run_id;
  run.maths_change = std::move(change);
  return run;
}

// A new run in options.path from a checkpoint of another one.
absl::StatusOr<RunFolder> ForkRun(const RunFolderOptions& options) {
  std::string checkpoint = options.resume, passed_over;
  while (checkpoint.size() > 1 && checkpoint.back() == '/') checkpoint.pop_back();
  if (!fs::exists(checkpoint)) return NotFound("--resume ", options.resume, ": no such folder");
  if (!fs::exists(checkpoint + "/" + kManifestName)) {
    const absl::StatusOr<CheckpointName> latest = LatestCheckpoint(checkpoint, &passed_over);
    if (!latest.ok()) {
      return Annotate(latest.status(), Cat("--resume ", options.resume,
                                           ": expected a checkpoint, or a run that has one"));
    }
    checkpoint = latest->folder;
  }
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(checkpoint));
  Part part{.parent_run_id = manifest.run_id,
            .from_checkpoint = fs::absolute(checkpoint).lexically_normal().string(),
            .from_step = manifest.step};
  Part was{.run_id = manifest.run_id, .config_hash = manifest.config_hash};
  const std::string run = fs::path(part.from_checkpoint).parent_path().parent_path().string();
  if (const auto parts = ReadRun(run); parts.ok()) {
    for (const Part& p : *parts) {
      if (p.run_id != manifest.run_id) continue;
      was.maths_text = p.maths_text;
      if (was.config_hash == p.config_hash_then) was.config_hash = p.config_hash;
    }
  }
  ASSIGN_OR_RETURN(std::string change, CompareMaths(was, options, checkpoint));
  ASSIGN_OR_RETURN(RunFolder fork, StartRun(options, std::move(part), std::move(change)));
  if (!passed_over.empty()) fork.note = kPassedOver + passed_over;
  return fork;
}

absl::StatusOr<RunFolder> Open(const RunFolderOptions& options) {
  std::error_code error;
  const bool exists = fs::exists(options.path, error) && !fs::is_empty(options.path, error);
  const bool is_run = fs::exists(options.path + "/run.json", error);
  if (error) return FileError("open run folder", options.path, error.value());
  if (exists && !is_run && !IsUnfinishedStart(options.path)) {
    return absl::AlreadyExistsError(Cat("run folder ", options.path,
                                        ": exists, is not empty and is not a run; choose another"));
  }
  if (options.resume == "auto") {
    return is_run ? ContinueRun(options) : StartRun(options, {}, "");
  }
  if (is_run) {
    return absl::AlreadyExistsError(
        Cat("run folder ", options.path,
            ": already holds a run; continue it with --resume auto, or choose another folder"));
  }
  return options.resume.empty() ? StartRun(options, {}, "") : ForkRun(options);
}

std::string Wire(const RunFolder& run) {
  return Json{run.path,        run.run_id,       run.parent_run_id, run.resume_from,
              run.resume_step, run.maths_change, run.note}
      .dump();
}

RunFolder FromWire(const std::string& text) {
  const Json j = Json::parse(text);
  return {j[0], j[1], j[2], j[3], j[4], j[5], j[6]};
}

}  // namespace

std::string RunFolder::inputs_before() const {
  const fs::path run =
      resume_from.empty() ? fs::path(path) : fs::path(resume_from).parent_path().parent_path();
  return (run / "inputs.json").string();
}

std::string RandomHex128() {
  std::random_device source;
  std::string hex;
  for (int word = 0; word < 4; ++word) {
    for (uint32_t bits = source(), digit = 0; digit < 8; ++digit, bits >>= 4) {
      hex += "0123456789abcdef"[bits & 15];
    }
  }
  return hex;
}

std::string LineDifference(const std::string& was, const std::string& now) {
  const auto lines = [](const std::string& text) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
  };
  const std::vector<std::string> a = lines(was), b = lines(now);
  const auto has = [](const std::vector<std::string>& all, const std::string& line) {
    return std::find(all.begin(), all.end(), line) != all.end();
  };
  // Lines are fields: which ones went and came says it all, their order means nothing.
  std::string out;
  for (const std::string& line : a) {
    if (!has(b, line)) out += "- " + line + "\n";
  }
  for (const std::string& line : b) {
    if (!has(a, line)) out += "+ " + line + "\n";
  }
  return out;
}

absl::Status ProveSharedFolder(const std::string& folder, const std::string& nonce,
                               Communicator* group) {
  const FileOps files;
  ASSIGN_OR_RETURN(const std::string content, BroadcastText(group, nonce, 0, "nonce"));
  const std::string path = folder + "/.nonce-" + content;
  absl::Status status;
  if (group->rank() == 0) status = files.WriteSmall(path, content);
  RETURN_IF_ERROR(AgreeOnStatus(group, status, "nonce written"));
  const absl::StatusOr<std::string> read = ReadSmall(path, 1024);
  std::vector<char> seen(static_cast<size_t>(group->size()));
  const char mine = read.ok() && *read == content;
  const absl::Status gathered = group->HostAllGather(&mine, 1, seen.data(), "nonce read");
  if (group->rank() == 0) (void)files.RemoveAll(path);
  RETURN_IF_ERROR(gathered);
  std::string blind;
  for (size_t r = 0; r < seen.size(); ++r) {
    if (!seen[r]) blind += Cat(blind.empty() ? "" : ", ", r);
  }
  if (blind.empty()) return absl::OkStatus();
  return FailedPrecondition("run folder ", folder,
                            ": the file that rank 0 wrote there is not visible to rank(s) ", blind,
                            "; the folder must be on a file system that all hosts share");
}

absl::StatusOr<RunFolder> OpenRunFolder(const RunFolderOptions& options, Communicator* group) {
  absl::StatusOr<RunFolder> mine = RunFolder{};
  if (group->rank() == 0) mine = Open(options);
  RETURN_IF_ERROR(AgreeOnStatus(group, mine.status(), "run folder"));
  ASSIGN_OR_RETURN(const std::string wire, BroadcastText(group, Wire(*mine), 0, "run folder"));
  RunFolder run = FromWire(wire);
  if (run.resume_step >= options.steps) return run;
  RETURN_IF_ERROR(ProveSharedFolder(run.path, group->rank() == 0 ? options.new_id() : "", group));
  return run;
}

}  // namespace blockstep
