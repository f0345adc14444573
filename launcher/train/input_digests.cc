#include "launcher/train/input_digests.h"

#include <sched.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/base/status.h"
#include "core/data/file_digest.h"
#include "core/io/file_ops.h"
#include "core/io/json_text.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
constexpr char kFormat[] = "blockstep-inputs";

std::string Text(const InputRecords& records) {
  Json files = Json::object();
  for (const auto& [name, r] : records) {
    Json& file = files[name];
    file = {{"path", r.path}, {"bytes", r.bytes}, {"sampled_sha256", r.sampled_sha256}};
    if (!r.sha256.empty()) file["sha256"] = r.sha256;
    if (!r.sha256_before.empty()) file["sha256_before"] = r.sha256_before;
    if (!r.error.empty()) file["error"] = r.error;
  }
  return Json{{"format", kFormat}, {"version", 1}, {"files", files}}.dump(2) + "\n";
}

InputRecord RecordOf(const InputFile& file) {
  std::error_code error;
  const uintmax_t bytes = fs::file_size(file.path, error);
  return {.path = fs::absolute(file.path).lexically_normal().string(),
          .bytes = error ? 0 : static_cast<int64_t>(bytes),
          .sampled_sha256 = file.sampled_sha256};
}

}  // namespace

absl::StatusOr<InputRecords> ReadInputRecords(const std::string& path) {
  constexpr int64_t kMost = int64_t{64} << 20;
  ASSIGN_OR_RETURN(const std::string text, ReadSmall(path, kMost));
  const absl::StatusOr<nlohmann::json> json = ParseJson(text);
  if (!json.ok()) return DataLoss(path, ": ", json.status().message());
  InputRecords records;
  try {
    if (json->at("format") != kFormat || json->at("version") != 1) {
      return DataLoss(path, ": expected format ", kFormat, " of version 1");
    }
    for (const auto& [name, file] : json->at("files").items()) {
      records[name] = {.path = file.at("path"),
                       .bytes = file.at("bytes"),
                       .sampled_sha256 = file.at("sampled_sha256"),
                       .sha256 = file.value("sha256", ""),
                       .sha256_before = file.value("sha256_before", ""),
                       .error = file.value("error", "")};
    }
  } catch (const nlohmann::json::exception& error) {
    return DataLoss(path, ": damaged: ", error.what());
  }
  return records;
}

InputDigests::InputDigests(InputDigestsOptions options) : o_(std::move(options)) {
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error& error) {
    o_.tell(Cat("skipping full digests of the inputs: cannot start a thread: ", error.what()));
  }
}

InputDigests::~InputDigests() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  const DiskWatch::Wait wait(o_.disk, "the digests of the inputs");
  Await();
}

void InputDigests::Await() {
  if (thread_.joinable()) thread_.join();
}

bool InputDigests::GoOn() {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, std::chrono::duration<double>(1 / o_.mib_per_s),
                         [this] { return stop_; });
}

void InputDigests::Run() {
  // Refused or not, the digests are the same.
  sched_param idle = {};
  (void)sched_setscheduler(0, SCHED_IDLE, &idle);
  InputRecords before;
  if (absl::StatusOr<InputRecords> read = ReadInputRecords(o_.before); read.ok()) {
    before = *std::move(read);
  } else if (!o_.before.empty() && !absl::IsNotFound(read.status())) {
    o_.tell(Cat("cannot compare the inputs with the run's recorded digests: ",
                read.status().message()));
  }
  InputRecords records;
  for (const InputFile& file : o_.files) {
    InputRecord& record = records[file.name] = RecordOf(file);
    // Another sampled digest is a configuration change that was accepted: nothing to compare.
    const auto was = before.find(file.name);
    if (was == before.end() || was->second.sampled_sha256 != record.sampled_sha256) continue;
    record.sha256 = was->second.sha256;
    record.sha256_before = was->second.sha256_before;
  }
  for (const InputFile& file : o_.files) {
    Take(file, records);
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return;
    }
    const absl::Status wrote = FileOps().ReplaceSmall(o_.record, Text(records));
    if (!wrote.ok()) o_.tell(Cat("cannot record the digests of the inputs: ", wrote.message()));
  }
}

void InputDigests::Take(const InputFile& file, InputRecords& records) {
  InputRecord& record = records[file.name];
  const absl::StatusOr<std::optional<std::string>> digest =
      FullSha256(file.path, [this] { return GoOn(); });
  if (!digest.ok()) {
    // Only recorded: if the run needs the file, the rank that reads it reports the error.
    record.error = std::string(digest.status().message());
    return;
  }
  if (!digest->has_value()) return;
  if (!record.sha256.empty() && record.sha256 != **digest) {
    o_.tell(Cat("warning: ", file.name, " has changed since this run started: ", record.path,
                ": expected sha256 ", record.sha256, ", got ", **digest,
                "; its size and sampled digest are unchanged. Earlier steps cannot be reproduced "
                "with this file"));
    record.sha256_before = record.sha256;
  }
  record.sha256 = **digest;
}

}  // namespace blockstep
