#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "core/base/sha256.h"
#include "core/base/status.h"
#include "dist/agreement.h"
#include "launcher/checkpoint/checkpoint.h"
#include "launcher/checkpoint/layout.h"
#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/retention.h"

namespace blockstep {
namespace {

enum class Part : uint8_t { kCreate, kWrite, kAnnounce, kNone };

}  // namespace

struct CheckpointSave::Impl {
  CheckpointContents contents;
  Communicator* group = nullptr;
  SaveOptions options;
  FileOps files;
  std::string run_folder, folder, temporary;
  CheckpointLayout layout;
  SavePieces pieces;

  Part part = Part::kCreate;
  bool announced_before = false;          // rank 0
  std::vector<ManifestFile> small_files;  // rank 0
  std::vector<std::string> slices;        // rank 0: of every rank
  std::vector<WrittenSlice> written;
  int64_t bytes_written = 0;
  absl::Status removal;
  absl::StatusOr<CheckpointInfo> outcome = absl::UnknownError("the save has not ended");

  Impl(const std::string& run, CheckpointContents what, Communicator* ranks, SaveOptions how)
      : contents(std::move(what)),
        group(ranks),
        options(std::move(how)),
        files(options.hook),
        run_folder(run),
        folder(CheckpointFolder(run, contents.trainer.step)),
        temporary(folder + kTemporarySuffix),
        layout(PlanCheckpoint(contents, options.max_file_bytes)),
        pieces(Pieces()) {}

  // This rank's rows of a planned tensor and the absolute row of the view's first.
  std::pair<TensorView, int64_t> Owned(const PlannedTensor& t) const {
    if (t.source < 0) {
      return {contents.weights.owned(t.tensor), contents.weights.owned_range(t.tensor).begin};
    }
    const StateSlice& slice = contents.states[static_cast<size_t>(t.source)];
    if (slice.layout == StateLayout::kLikeTensor) return {slice.view, slice.row0};
    return {group->rank() == 0 ? slice.view : slice.view.Rows(0, 0), 0};
  }

  std::vector<SavePiece> Pieces() const;
  absl::Status AgreeOnPlan();
  absl::Status CreateFiles();
  absl::Status SmallFile(const std::string& name, const std::string& text);
  absl::Status WritePiece(const SavePiece& piece, std::map<int, File>& open,
                          std::vector<char>& buffer);
  absl::Status WriteAll();
  absl::Status Announce();
  void NoteFirstSave() const;
  bool End(absl::Status status);
  // Gives the disk space of a failed save back; the next save would remove it too.
  void Discard() const;
};

std::vector<SavePiece> CheckpointSave::Impl::Pieces() const {
  std::vector<SavePiece> pieces;
  for (size_t i = 0; i < layout.tensors.size(); ++i) {
    const PlannedTensor& t = layout.tensors[i];
    const auto [view, row0] = Owned(t);
    if (view.rows == 0) continue;
    CHECK_EQ(view.cols, t.cols);
    CHECK(view.dtype == t.dtype);
    CHECK_LE(t.rows.begin, row0);
    CHECK_LE(row0 + view.rows, t.rows.end);
    const int64_t step = PieceRows(t.row_bytes(), options.max_slice_bytes);
    for (int64_t row = 0; row < view.rows; row += step) {
      const int64_t end = std::min(row + step, view.rows);
      pieces.push_back({.planned = static_cast<int>(i),
                        .tensor = t.tensor,
                        .state = t.source >= 0,
                        .rows = {row0 + row, row0 + end},
                        .view = view.Rows(row, end)});
    }
  }
  return pieces;
}

absl::Status CheckpointSave::Impl::AgreeOnPlan() {
  std::string text = Cat(contents.trainer.step, "\n");
  for (const PlannedFile& file : layout.files) text += Cat(file.name, file.bytes, file.header);
  const uint64_t mine = Hash64(text);
  std::vector<uint64_t> all(static_cast<size_t>(group->size()));
  RETURN_IF_ERROR(group->HostAllGather(&mine, sizeof(mine), all.data(), "checkpoint plan"));
  for (size_t r = 0; r < all.size(); ++r) {
    if (all[r] != all[0]) {
      return FailedPrecondition("checkpoint at step ", contents.trainer.step, ": rank ", r,
                                " saves different tensors, states or step than rank 0");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckpointSave::Impl::SmallFile(const std::string& name, const std::string& text) {
  RETURN_IF_ERROR(files.WriteSmall(temporary + "/" + name, text));
  Sha256 sha;
  sha.Update(text);
  const int64_t bytes = static_cast<int64_t>(text.size());
  small_files.push_back({name, bytes, bytes, sha.Hex()});
  bytes_written += bytes;
  return absl::OkStatus();
}

absl::Status CheckpointSave::Impl::CreateFiles() {
  const std::string checkpoints = run_folder + "/checkpoints";
  if (!std::filesystem::exists(checkpoints)) {
    RETURN_IF_ERROR(files.CreateFolder(checkpoints));
    RETURN_IF_ERROR(files.FsyncFolder(run_folder));
  }
  RETURN_IF_ERROR(RemoveUnannounced(run_folder, files));
  RETURN_IF_ERROR(files.RemoveAll(folder));  // its manifest cannot be read
  RETURN_IF_ERROR(files.CreateFolder(temporary));
  RETURN_IF_ERROR(files.CreateFolder(temporary + "/state"));
  for (const PlannedFile& file : layout.files) {
    ASSIGN_OR_RETURN(const File out, files.Create(temporary + "/" + file.name));
    RETURN_IF_ERROR(files.Allocate(out, file.bytes));
    const int64_t header = static_cast<int64_t>(file.header.size());
    RETURN_IF_ERROR(files.Write(out, file.header.data(), header, 0));
    bytes_written += header;
  }
  RETURN_IF_ERROR(SmallFile("config.json", contents.config_json));
  for (const std::string& path : contents.tokenizer_files) {
    ASSIGN_OR_RETURN(const std::string text, ReadSmall(path));
    RETURN_IF_ERROR(SmallFile(std::filesystem::path(path).filename().string(), text));
  }
  if (!layout.index_json.empty()) {
    RETURN_IF_ERROR(SmallFile("model.safetensors.index.json", layout.index_json));
  }
  return SmallFile("trainer_state.pb", SerializeTrainerState(contents.trainer));
}

absl::Status CheckpointSave::Impl::WritePiece(const SavePiece& piece, std::map<int, File>& open,
                                              std::vector<char>& buffer) {
  const PlannedTensor& t = layout.tensors[static_cast<size_t>(piece.planned)];
  if (!open.contains(t.file)) {
    const PlannedFile& planned = layout.files[static_cast<size_t>(t.file)];
    ASSIGN_OR_RETURN(File file, File::OpenForWrite(temporary + "/" + planned.name));
    open.emplace(t.file, std::move(file));
  }
  const TensorView& rows = piece.view;
  ASSIGN_OR_RETURN(const char* data, contents.weights.access.Read(rows, buffer));
  Sha256 sha;
  sha.Update(data, static_cast<size_t>(rows.bytes()));
  RETURN_IF_ERROR(files.Write(open.at(t.file), data, rows.bytes(),
                              t.offset + (piece.rows.begin - t.rows.begin) * t.row_bytes()));
  written.push_back({piece.planned, piece.rows, sha.Hex()});
  bytes_written += rows.bytes();
  return absl::OkStatus();
}

absl::Status CheckpointSave::Impl::WriteAll() {
  std::map<int, File> open;
  std::vector<char> buffer;
  while (const std::optional<SavePiece> piece = pieces.Take()) {
    const absl::Status status = WritePiece(*piece, open, buffer);
    pieces.Written();
    if (status.ok()) continue;
    pieces.Cancel();  // what is left needs no staging
    return status;
  }
  if (group->rank() == 0) {  // wrote every header
    for (size_t f = 0; f < layout.files.size(); ++f) {
      if (open.contains(static_cast<int>(f))) continue;
      ASSIGN_OR_RETURN(File file, File::OpenForWrite(temporary + "/" + layout.files[f].name));
      open.emplace(static_cast<int>(f), std::move(file));
    }
  }
  for (const auto& [index, file] : open) RETURN_IF_ERROR(files.Fsync(file));
  return absl::OkStatus();
}

absl::Status CheckpointSave::Impl::Announce() {
  ASSIGN_OR_RETURN(const Manifest manifest, MakeManifest(contents, layout, small_files, slices));
  RETURN_IF_ERROR(files.FsyncFolder(temporary + "/state"));
  RETURN_IF_ERROR(files.FsyncFolder(temporary));
  RETURN_IF_ERROR(files.Rename(temporary, folder));
  RETURN_IF_ERROR(files.FsyncFolder(run_folder + "/checkpoints"));
  RETURN_IF_ERROR(files.ReplaceSmall(folder + "/" + kManifestName, ManifestJson(manifest)));
  NoteFirstSave();
  if (options.keep.has_value()) {
    removal = ApplyRetention(run_folder, *options.keep, options.hook).status();
  }
  return absl::OkStatus();
}

// The checkpoint stands whether or not this could be written, so it is no part of the save.
void CheckpointSave::Impl::NoteFirstSave() const {
  const std::string path = run_folder + "/" + kSavedName;
  std::error_code error;
  if (std::filesystem::exists(path, error)) return;
  (void)FileOps().ReplaceSmall(
      path, Cat("The first checkpoint of this run was at step ", contents.trainer.step,
                ". If none is left, --resume auto refuses to start over.\n"));
}

void CheckpointSave::Impl::Discard() const {
  const FileOps plain;
  (void)plain.RemoveAll(temporary);
  if (!ReadManifest(folder).ok()) (void)plain.RemoveAll(folder);
}

bool CheckpointSave::Impl::End(absl::Status status) {
  part = Part::kNone;
  if (!status.ok()) {
    if (group->rank() == 0) Discard();
    outcome = std::move(status);
    return false;
  }
  CheckpointInfo info{.folder = folder,
                      .step = contents.trainer.step,
                      .bytes_written = bytes_written,
                      .removal = std::move(removal)};
  for (const PlannedFile& file : layout.files) info.bytes += file.bytes;
  outcome = std::move(info);
  return false;
}

CheckpointSave::CheckpointSave(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CheckpointSave::~CheckpointSave() = default;

absl::StatusOr<std::unique_ptr<CheckpointSave>> CheckpointSave::Begin(const std::string& run_folder,
                                                                      CheckpointContents contents,
                                                                      Communicator* group,
                                                                      SaveOptions options) {
  auto impl = std::make_unique<Impl>(run_folder, std::move(contents), group, std::move(options));
  RETURN_IF_ERROR(impl->AgreeOnPlan());
  return std::unique_ptr<CheckpointSave>(new CheckpointSave(std::move(impl)));
}

SavePieces& CheckpointSave::pieces() { return impl_->pieces; }
const absl::StatusOr<CheckpointInfo>& CheckpointSave::outcome() const { return impl_->outcome; }

absl::Status CheckpointSave::Work() {
  absl::Status status = WorkOnPart();
  if (impl_->options.idle) impl_->options.idle();
  return status;
}

absl::Status CheckpointSave::WorkOnPart() {
  Impl& impl = *impl_;
  CHECK(impl.part != Part::kNone);
  if (impl.part == Part::kWrite) return impl.WriteAll();
  if (impl.group->rank() != 0) return absl::OkStatus();
  if (impl.part == Part::kAnnounce) return impl.Announce();
  impl.announced_before = ReadManifest(impl.folder).ok();
  return impl.announced_before ? absl::OkStatus() : impl.CreateFiles();
}

absl::StatusOr<bool> CheckpointSave::Turn(absl::Status worked) {
  Impl& impl = *impl_;
  static constexpr const char* kWhat[] = {"checkpoint created", "checkpoint written",
                                          "checkpoint announced"};
  ASSIGN_OR_RETURN(Agreement agreed,
                   GatherStatus(impl.group, worked, kWhat[static_cast<size_t>(impl.part)]));
  if (!agreed.status.ok()) return impl.End(std::move(agreed.status));
  if (impl.part == Part::kCreate) {
    const int64_t before = impl.announced_before ? 1 : 0;
    std::vector<int64_t> all(static_cast<size_t>(impl.group->size()));
    RETURN_IF_ERROR(impl.group->HostAllGather(&before, sizeof before, all.data(),
                                              "checkpoint announced before"));
    if (all[0] != 0) return impl.End(absl::OkStatus());
    impl.part = Part::kWrite;
    return true;
  }
  if (impl.part == Part::kWrite) {
    ASSIGN_OR_RETURN(impl.slices,
                     GatherText(impl.group, SlicesText(impl.written), "checkpoint hashes"));
    impl.part = Part::kAnnounce;
    return true;
  }
  return impl.End(absl::OkStatus());
}

absl::Status CheckpointSave::Finish() {
  while (impl_->part != Part::kNone) RETURN_IF_ERROR(Turn(Work()).status());
  return absl::OkStatus();
}

}  // namespace blockstep
