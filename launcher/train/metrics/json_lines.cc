#include "launcher/train/metrics/json_lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/status.h"

namespace blockstep {
namespace {

struct Kept {
  int64_t bytes = 0;
  std::optional<StepMetrics> evaluation;
};

// What of `path` comes before the first line that is torn, no metrics, or not of the past of
// `next_step`.
Kept ReadKept(const std::string& path, int64_t next_step) {
  std::ifstream in(path, std::ios::binary);
  Kept kept;
  for (std::string line; std::getline(in, line) && !in.eof();) {
    const auto j = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!j.is_object() || !j.contains("step") || !j["step"].is_number_integer()) break;
    const int64_t step = j["step"];
    const bool evaluated = next_step > 0 && step == next_step && j.contains("eval/loss");
    if (step >= next_step && !evaluated) break;
    if (evaluated) {
      kept.evaluation = StepMetrics{.step = step};
      for (const auto& [name, value] : j.items()) {
        if (name == "step" || !value.is_number()) continue;
        kept.evaluation->values.push_back({name, value.get<double>()});
      }
    }
    kept.bytes += static_cast<int64_t>(line.size()) + 1;
  }
  return kept;
}

}  // namespace

std::string MetricsJson(const StepMetrics& metrics) {
  nlohmann::ordered_json j;
  j["step"] = metrics.step;
  for (const auto& [name, value] : metrics.values) {
    if (std::isfinite(value) && value == std::floor(value) && std::abs(value) < 0x1p53) {
      j[name] = static_cast<int64_t>(value);  // counts look like counts
    } else if (std::isfinite(value)) {
      j[name] = value;
    } else {
      j[name] = nullptr;
    }
  }
  if (!metrics.block.empty()) j["block"] = metrics.block;
  return j.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

absl::StatusOr<JsonLinesWriter> JsonLinesWriter::Open(const std::string& path, int64_t next_step) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return ErrnoStatus(errno, Cat("cannot open metrics file ", path));
  JsonLinesWriter writer(fd, path);
  Kept kept = ReadKept(path, next_step);
  writer.kept_evaluation_ = std::move(kept.evaluation);
  if (ftruncate(fd, kept.bytes) != 0) {
    return ErrnoStatus(errno, Cat("cannot truncate metrics file ", path, " to step ", next_step));
  }
  return writer;
}

JsonLinesWriter::JsonLinesWriter(JsonLinesWriter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      kept_evaluation_(std::move(other.kept_evaluation_)) {}
JsonLinesWriter::~JsonLinesWriter() {
  if (fd_ >= 0) close(fd_);
}

absl::Status JsonLinesWriter::Write(const StepMetrics& metrics) {
  const std::string line = MetricsJson(metrics) + "\n";
  const off_t before = lseek(fd_, 0, SEEK_END);
  const ssize_t n = write(fd_, line.data(), line.size());
  if (n == static_cast<ssize_t>(line.size())) return absl::OkStatus();
  const int error = errno;
  // A torn line would hide those after it; what cannot be removed now is removed at the next
  // resume.
  if (n > 0 && before >= 0) (void)!ftruncate(fd_, before);
  return ResourceExhausted("cannot write ", line.size(), " bytes to metrics file ", path_,
                           " at step ", metrics.step, ": ",
                           n < 0 ? std::strerror(error) : "partial write");
}

}  // namespace blockstep
