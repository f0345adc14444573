#include "launcher/train/metrics/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
    table[i] = crc;
  }
  return table;
}();

// TFRecord stores CRCs masked, so that a CRC over data that holds CRCs stays sound.
uint32_t MaskedCrc(std::string_view data) {
  const uint32_t crc = Crc32c(data);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

template <typename T>
void PutLittleEndian(std::string& out, T value) {
  for (size_t byte = 0; byte < sizeof(T); ++byte) {
    out += static_cast<char>(value >> (8 * byte) & 0xff);
  }
}

// Protobuf's wire format: a tag is (field << 3 | kind), kinds 0 varint, 1 64 bit, 2 bytes, 5 32
// bit.
void PutVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}
void PutInt(std::string& out, int field, int64_t value) {
  PutVarint(out, static_cast<uint64_t>(field) << 3);
  PutVarint(out, static_cast<uint64_t>(value));
}
void PutDouble(std::string& out, int field, double value) {
  PutVarint(out, static_cast<uint64_t>(field) << 3 | 1);
  PutLittleEndian(out, std::bit_cast<uint64_t>(value));
}
void PutFloat(std::string& out, int field, float value) {
  PutVarint(out, static_cast<uint64_t>(field) << 3 | 5);
  PutLittleEndian(out, std::bit_cast<uint32_t>(value));
}
void PutBytes(std::string& out, int field, std::string_view value) {
  PutVarint(out, static_cast<uint64_t>(field) << 3 | 2);
  PutVarint(out, value.size());
  out += value;
}

// Event {1: double wall_time, 2: int64 step, 3: string file_version, 5: Summary, 7: SessionLog}
std::string EventHead(double wall_time, int64_t step) {
  std::string event;
  PutDouble(event, 1, wall_time);
  PutInt(event, 2, step);
  return event;
}

}  // namespace

uint32_t Crc32c(std::string_view data) {
  uint32_t crc = ~0u;
  for (const char byte : data) {
    crc = kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff] ^ (crc >> 8);
  }
  return ~crc;
}

absl::StatusOr<TensorBoardWriter> TensorBoardWriter::Open(const std::string& folder,
                                                          const std::string& run_name,
                                                          int64_t next_step,
                                                          std::function<double()> now) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return ErrnoStatus(error.value(), Cat("cannot create folder ", folder));
  const double wall = now();
  const std::string path = Cat(folder, "/events.out.tfevents.", static_cast<int64_t>(wall), ".",
                               run_name, ".", next_step);
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return ErrnoStatus(errno, Cat("cannot open event file ", path));
  TensorBoardWriter writer(fd, path, std::move(now));
  std::string version = EventHead(wall, 0);
  PutBytes(version, 3, "brain.Event:2");
  RETURN_IF_ERROR(writer.Append(version));
  if (next_step > 0) {
    std::string session;  // SessionLog {1: status START = 1}
    PutInt(session, 1, 1);
    std::string start = EventHead(wall, next_step);
    PutBytes(start, 7, session);
    RETURN_IF_ERROR(writer.Append(start));
  }
  return writer;
}

TensorBoardWriter::TensorBoardWriter(TensorBoardWriter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      now_(std::move(other.now_)) {}
TensorBoardWriter::~TensorBoardWriter() {
  if (fd_ >= 0) close(fd_);
}

absl::Status TensorBoardWriter::Append(std::string_view event) {
  std::string length;
  PutLittleEndian(length, static_cast<uint64_t>(event.size()));
  std::string frame = length;
  PutLittleEndian(frame, MaskedCrc(length));
  frame += event;
  PutLittleEndian(frame, MaskedCrc(event));
  if (write(fd_, frame.data(), frame.size()) == static_cast<ssize_t>(frame.size())) {
    return absl::OkStatus();
  }
  return ResourceExhausted("cannot write event file ", path_, ": ", std::strerror(errno));
}

absl::Status TensorBoardWriter::Write(const StepMetrics& metrics) {
  std::string summary;  // Summary {1: repeated Value {1: tag, 2: float simple_value}}
  for (const auto& [name, value] : metrics.values) {
    std::string one;
    PutBytes(one, 1, name);
    PutFloat(one, 2, static_cast<float>(value));
    PutBytes(summary, 1, one);
  }
  std::string event = EventHead(now_(), metrics.step);
  PutBytes(event, 5, summary);
  return Append(event);
}

}  // namespace blockstep
