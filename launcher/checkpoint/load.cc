#include "core/base/sha256.h"
#include "core/base/status.h"
#include "dist/agreement.h"
#include "launcher/checkpoint/checkpoint.h"
#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/slice_reader.h"

namespace blockstep {

struct CheckpointReader::Impl {
  std::string folder;
  Communicator* group = nullptr;
  Manifest manifest;
  TrainerState trainer;
  std::vector<SavedState> states;

  absl::Status ReadHere();
  absl::Status CheckModel(const OwnedWeights& weights) const;
  absl::Status ReadWeights(const OwnedWeights& weights) const;
  absl::Status ReadState(const StateSlice& slice, const DeviceAccess& access,
                         SliceReader& reader) const;
};

absl::Status CheckpointReader::Impl::ReadHere() {
  ASSIGN_OR_RETURN(manifest, ReadManifest(folder));
  const SliceReader reader(folder, &manifest);
  RETURN_IF_ERROR(reader.CheckSizes());
  bool found = false;
  for (const ManifestFile& file : manifest.files) {
    ASSIGN_OR_RETURN(const std::string text, reader.Hashed(file));
    if (file.name != "trainer_state.pb") continue;
    ASSIGN_OR_RETURN(trainer, ParseTrainerState(text, folder + "/" + file.name));
    found = true;
  }
  if (!found)
    return DataLoss("checkpoint ", folder, ": expected trainer_state.pb in the manifest, got none");
  if (trainer.step != manifest.step) {
    return DataLoss("checkpoint ", folder, ": trainer_state.pb: expected step ", manifest.step,
                    " (manifest), got ", trainer.step);
  }
  for (const ManifestTensor& t : manifest.tensors) {
    if (t.state.empty()) continue;
    states.push_back({t.tensor, t.entry_rows, t.state, t.dtype, t.layout, t.cols});
  }
  return absl::OkStatus();
}

absl::Status CheckpointReader::Impl::CheckModel(const OwnedWeights& weights) const {
  const std::string what = Cat("checkpoint ", folder, ": model mismatch: ");
  const auto& wanted = weights.table->tensors;
  size_t found = 0;
  for (const ManifestTensor& t : manifest.tensors) {
    if (!t.state.empty()) continue;
    if (found == wanted.size()) {
      return DataLoss(what, "unexpected tensor ", t.name, ": the model has ", wanted.size(),
                      " tensors");
    }
    const TensorInfo& info = wanted[found++];
    if (t.name != info.name || t.rows.size() != info.rows || t.cols != info.cols) {
      return DataLoss(what, "tensor ", found - 1, ": expected ", info.name, " (", info.rows, ", ",
                      info.cols, "), got ", t.name, " (", t.rows.size(), ", ", t.cols, ")");
    }
    const DType dtype = weights.owned(t.tensor).dtype;
    if (dtype != t.dtype) {
      return DataLoss("checkpoint ", folder, ": tensor ", t.name, ": expected ", DTypeName(dtype),
                      ", got ", DTypeName(t.dtype));
    }
  }
  if (found < wanted.size()) {
    return DataLoss(what, "expected ", wanted.size(), " tensors, got ", found,
                    "; the first one missing is ", wanted[found].name);
  }
  return absl::OkStatus();
}

absl::Status CheckpointReader::Impl::ReadWeights(const OwnedWeights& weights) const {
  RETURN_IF_ERROR(CheckModel(weights));
  SliceReader reader(folder, &manifest);
  for (const ManifestTensor& t : manifest.tensors) {
    if (!t.state.empty()) continue;
    const TensorView view = weights.owned(t.tensor);
    CHECK_EQ(view.rows, weights.owned_range(t.tensor).size());
    RETURN_IF_ERROR(reader.ReadRows(t, weights.owned_range(t.tensor).begin, view, weights.access));
  }
  return absl::OkStatus();
}

absl::Status CheckpointReader::Impl::ReadState(const StateSlice& slice, const DeviceAccess& access,
                                               SliceReader& reader) const {
  const bool replicated = slice.layout == StateLayout::kReplicated;
  const Range wanted = replicated ? Range{0, 1} : Range{slice.row0, slice.row0 + slice.view.rows};
  int64_t covered = 0;
  const ManifestTensor* any = nullptr;
  for (const ManifestTensor& t : manifest.tensors) {
    if (t.tensor != slice.tensor || t.state != slice.name) continue;
    any = &t;
    if (replicated && t.entry_rows != slice.rows) continue;
    if (t.dtype != slice.view.dtype || t.cols != slice.view.cols || t.layout != slice.layout) {
      return DataLoss("checkpoint ", folder, ": ", Label(t), ": expected ",
                      DTypeName(slice.view.dtype), " with ", slice.view.cols, " columns, got ",
                      DTypeName(t.dtype), " with ", t.cols);
    }
    covered += Intersect(t.rows, wanted).size();
    RETURN_IF_ERROR(reader.ReadRows(t, wanted.begin, slice.view, access));
  }
  if (covered < wanted.size()) {
    return DataLoss("checkpoint ", folder, ": state ", slice.name, " of tensor ", slice.tensor,
                    any == nullptr ? "" : Cat(" (", any->name, ")"), ": expected ", wanted.size(),
                    " rows in [", wanted.begin, ", ", wanted.end, "), got ", covered);
  }
  return absl::OkStatus();
}

CheckpointReader::CheckpointReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CheckpointReader::~CheckpointReader() = default;
const std::string& CheckpointReader::folder() const { return impl_->folder; }
const TrainerState& CheckpointReader::trainer() const { return impl_->trainer; }
const std::vector<SavedState>& CheckpointReader::states() const { return impl_->states; }

absl::StatusOr<std::unique_ptr<CheckpointReader>> CheckpointReader::Open(const std::string& folder,
                                                                         Communicator* group) {
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->group = group;
  RETURN_IF_ERROR(AgreeOnStatus(group, impl->ReadHere(), "checkpoint opened"));
  const uint64_t mine = Hash64(ManifestJson(impl->manifest));
  std::vector<uint64_t> all(static_cast<size_t>(group->size()));
  RETURN_IF_ERROR(group->HostAllGather(&mine, sizeof(mine), all.data(), "checkpoint manifest"));
  for (size_t r = 0; r < all.size(); ++r) {
    if (all[r] != all[0]) {
      return FailedPrecondition(
          "checkpoint ", folder, ": rank ", r,
          " reads a different manifest than rank 0; all ranks must see the same folder");
    }
  }
  return std::unique_ptr<CheckpointReader>(new CheckpointReader(std::move(impl)));
}

absl::Status CheckpointReader::LoadWeights(const OwnedWeights& weights) {
  return AgreeOnStatus(impl_->group, impl_->ReadWeights(weights), "checkpoint weights read");
}

absl::Status CheckpointReader::LoadStates(const std::vector<StateSlice>& states,
                                          const DeviceAccess& access) {
  SliceReader reader(impl_->folder, &impl_->manifest);
  absl::Status status;
  for (const StateSlice& slice : states) {
    status = impl_->ReadState(slice, access, reader);
    if (!status.ok()) break;
  }
  return AgreeOnStatus(impl_->group, status, "checkpoint states read");
}

absl::Status VerifyCheckpoint(const std::string& folder) {
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  SliceReader reader(folder, &manifest);
  RETURN_IF_ERROR(reader.CheckSizes());
  for (const ManifestFile& file : manifest.files) RETURN_IF_ERROR(reader.Hashed(file).status());
  for (const ManifestTensor& t : manifest.tensors) {
    RETURN_IF_ERROR(
        reader.ForSlices(t, t.rows, [](Range, std::span<const char>) { return absl::OkStatus(); }));
  }
  return absl::OkStatus();
}

}  // namespace blockstep
