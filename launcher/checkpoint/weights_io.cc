#include "launcher/checkpoint/weights_io.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/base/status.h"
#include "core/data/safetensors.h"
#include "dist/agreement.h"
#include "launcher/checkpoint/manifest.h"

namespace blockstep {
namespace {

constexpr int64_t kChunkElements = int64_t{1} << 20;

uint16_t RoundToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);  // stays a NaN
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

absl::Status LoadTensor(const SafetensorsFolder& in, const TensorInfo& info, TensorView view,
                        int64_t row0, const DeviceAccess& access) {
  CHECK(view.dtype == DType::kF32 || view.dtype == DType::kBF16);
  std::vector<float> values;
  return access.Fill(view, [&](TensorView rows, int64_t first) -> absl::Status {
    values.resize(static_cast<size_t>(rows.size()));
    const int64_t begin = row0 + first;
    RETURN_IF_ERROR(in.ReadRows(info.name, {begin, begin + rows.rows}, values.data()));
    for (int64_t r = 0; r < rows.rows; ++r) {
      const float* from = values.data() + r * info.cols;
      if (view.dtype == DType::kF32) {
        std::memcpy(rows.f32(r), from, static_cast<size_t>(info.cols) * sizeof(float));
        continue;
      }
      uint16_t* to = rows.row<uint16_t>(r);
      for (int64_t c = 0; c < info.cols; ++c) to[c] = RoundToBf16(from[c]);
    }
    return absl::OkStatus();
  });
}

absl::Status LoadOwned(const std::string& folder, const OwnedWeights& weights) {
  ASSIGN_OR_RETURN(const SafetensorsFolder in, SafetensorsFolder::Open(folder));
  RETURN_IF_ERROR(in.Matches(*weights.table));
  for (size_t t = 0; t < weights.table->tensors.size(); ++t) {
    const int index = static_cast<int>(t);
    RETURN_IF_ERROR(LoadTensor(in, weights.table->tensors[t], weights.owned(index),
                               weights.owned_range(index).begin, weights.access));
  }
  return absl::OkStatus();
}

constexpr const char* kHead = "lm_head.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";

absl::StatusOr<bool> SameValues(const SafetensorsFolder& in) {
  const SafetensorsEntry &head = *in.Find(kHead), &embedding = *in.Find(kEmbedding);
  if (head.shape != embedding.shape || head.shape.size() != 2) return false;
  const int64_t rows = head.shape[0], cols = head.shape[1];
  const int64_t step = std::max<int64_t>(1, kChunkElements / cols);
  std::vector<float> a, b;
  for (int64_t row = 0; row < rows; row += step) {
    const Range part{row, std::min(row + step, rows)};
    a.resize(static_cast<size_t>(part.size() * cols));
    b.resize(a.size());
    RETURN_IF_ERROR(in.ReadRows(kHead, part, a.data()));
    RETURN_IF_ERROR(in.ReadRows(kEmbedding, part, b.data()));
    if (std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) != 0) return false;
  }
  return true;
}

}  // namespace

std::string UnreadHead(const std::string& folder, const TensorTable& table) {
  if (!table.tied) return "";
  const absl::StatusOr<SafetensorsFolder> in = SafetensorsFolder::Open(folder);
  if (!in.ok() || in->Find(kHead) == nullptr || in->Find(kEmbedding) == nullptr) return "";
  const absl::StatusOr<bool> same = SameValues(*in);
  if (same.ok() && *same) return "";
  return Cat("WARNING: weights ", folder, ": ", kHead, " is ignored: ",
             same.ok() ? Cat("it differs from ", kEmbedding) : std::string(same.status().message()),
             ", and config.json ties the two (tie_word_embeddings)");
}

absl::Status LoadHuggingFaceWeights(const std::string& folder, const OwnedWeights& weights,
                                    Communicator* group) {
  return AgreeOnStatus(group, LoadOwned(folder, weights), "weights read");
}

absl::Status ExportWeights(const std::string& checkpoint, const std::string& to) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::exists(to, error) && !fs::is_empty(to, error)) {
    return absl::AlreadyExistsError(
        Cat("export to ", to, ": the folder exists and is not empty; choose a new one"));
  }
  RETURN_IF_ERROR(VerifyCheckpoint(checkpoint));
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(checkpoint));
  fs::create_directories(to, error);
  if (error) return FileError("create folder", to, error.value());
  for (const ManifestFile& file : manifest.files) {
    if (file.name.starts_with("state/") || file.name == "trainer_state.pb") continue;
    const std::string out = to + "/" + file.name;
    fs::copy_file(checkpoint + "/" + file.name, out, error);
    if (error) return FileError("copy a checkpoint's file to", out, error.value());
  }
  return absl::OkStatus();
}

}  // namespace blockstep
