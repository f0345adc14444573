// TensorBoard event files: TFRecord frames (length, masked CRC-32C, Event message, masked CRC-32C)
// with scalar summaries, encoded by hand so that no TensorFlow is needed.
// https://github.com/tensorflow/tensorboard (event.proto, summary.proto),
// tensorflow/core/lib/io/record_writer.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "launcher/train/metrics/json_lines.h"

namespace blockstep {

class TensorBoardWriter {
 public:
  // A new file events.out.tfevents.<seconds>.<run_name>.<next_step> in `folder`, which is created.
  // A resumed run adds a file; its first event tells TensorBoard to drop what earlier files say
  // from `next_step` on (SessionLog START). `now` gives wall seconds.
  static absl::StatusOr<TensorBoardWriter> Open(const std::string& folder,
                                                const std::string& run_name, int64_t next_step,
                                                std::function<double()> now);
  TensorBoardWriter(TensorBoardWriter&& other) noexcept;
  ~TensorBoardWriter();

  absl::Status Write(const StepMetrics& metrics);
  const std::string& path() const { return path_; }

 private:
  TensorBoardWriter(int fd, std::string path, std::function<double()> now)
      : fd_(fd), path_(std::move(path)), now_(std::move(now)) {}
  absl::Status Append(std::string_view event);
  int fd_;
  std::string path_;
  std::function<double()> now_;
};

// CRC-32C (Castagnoli), as in RFC 3720.
uint32_t Crc32c(std::string_view data);

}  // namespace blockstep
