#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>

#include "core/base/sha256.h"
#include "core/base/status.h"
#include "launcher/trainer/checkpoint/checkpoint.h"
#include "launcher/trainer/checkpoint/group_status.h"
#include "launcher/trainer/checkpoint/layout.h"
#include "launcher/trainer/checkpoint/manifest.h"
#include "launcher/trainer/checkpoint/retention.h"

namespace blockstep {
namespace {

struct WrittenSlice {
  int tensor = 0;  // index into CheckpointLayout::tensors
  Range rows;
  std::string sha256;
};

std::string SlicesText(const std::vector<WrittenSlice>& slices) {
  std::ostringstream out;
  for (const WrittenSlice& s : slices) {
    out << s.tensor << ' ' << s.rows.begin << ' ' << s.rows.end << ' ' << s.sha256 << '\n';
  }
  return std::move(out).str();
}

}  // namespace

struct CheckpointSave::Impl {
  CheckpointContents contents;
  Communicator* group = nullptr;
  SaveOptions options;
  FileOps files;
  std::string run_folder, folder, temporary;
  CheckpointLayout layout;
  bool announced_before = false;
  std::vector<ManifestFile> small_files;  // rank 0
  std::vector<WrittenSlice> written;
  int64_t bytes_written = 0;

  Impl(FileHook hook) : files(std::move(hook)) {}

  // This rank's rows of a planned tensor and the absolute row of the view's first.
  std::pair<TensorView, int64_t> Part(const PlannedTensor& t) const {
    if (t.source < 0) {
      return {contents.weights.owned(t.tensor), contents.weights.owned_range(t.tensor).begin};
    }
    const StateSlice& slice = contents.states[static_cast<size_t>(t.source)];
    if (slice.layout == StateLayout::kLikeTensor) return {slice.view, slice.row0};
    return {group->rank() == 0 ? slice.view : slice.view.Rows(0, 0), 0};
  }

  absl::Status AgreeOnPlan();
  absl::Status CreateFiles();
  absl::Status SmallFile(const std::string& name, const std::string& text);
  absl::Status WriteTensor(size_t index, std::map<int, File>& open, std::vector<char>& buffer);
  absl::Status WriteAll();
  absl::StatusOr<Manifest> MakeManifest(const std::vector<std::string>& slices_of_ranks) const;
  absl::Status Announce(const std::vector<std::string>& slices_of_ranks);
  // Gives the disk space of a failed save back; the next save would remove it too.
  void Discard() const;
};

absl::Status CheckpointSave::Impl::AgreeOnPlan() {
  std::string text = Cat(contents.trainer.step, "\n");
  for (const PlannedFile& file : layout.files) text += Cat(file.name, file.bytes, file.header);
  const uint64_t mine = Hash64(text);
  std::vector<uint64_t> all(static_cast<size_t>(group->size()));
  RETURN_IF_ERROR(group->HostAllGather(&mine, sizeof(mine), all.data(), "checkpoint plan"));
  for (size_t r = 0; r < all.size(); ++r) {
    if (all[r] != all[0]) {
      return FailedPrecondition("checkpoint of step ", contents.trainer.step, ": rank ", r,
                                " saves other tensors, states or another step than rank 0");
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
  RETURN_IF_ERROR(files.RemoveAll(temporary));
  RETURN_IF_ERROR(files.RemoveAll(folder));  // renamed by a save that died before its manifest
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

absl::Status CheckpointSave::Impl::WriteTensor(size_t index, std::map<int, File>& open,
                                               std::vector<char>& buffer) {
  const PlannedTensor& t = layout.tensors[index];
  const auto [view, row0] = Part(t);
  if (view.rows == 0) return absl::OkStatus();
  CHECK_EQ(view.cols, t.cols);
  CHECK(view.dtype == t.dtype);
  CHECK_LE(t.rows.begin, row0);
  CHECK_LE(row0 + view.rows, t.rows.end);
  if (!open.contains(t.file)) {
    const PlannedFile& planned = layout.files[static_cast<size_t>(t.file)];
    ASSIGN_OR_RETURN(File file, File::OpenForWrite(temporary + "/" + planned.name));
    open.emplace(t.file, std::move(file));
  }
  const int64_t step = std::max<int64_t>(1, options.max_slice_bytes / t.row_bytes());
  for (int64_t row = 0; row < view.rows; row += step) {
    const TensorView rows = view.Rows(row, std::min(row + step, view.rows));
    const void* data = rows.data;
    if (!rows.contiguous()) {
      buffer.resize(static_cast<size_t>(rows.bytes()));
      for (int64_t r = 0; r < rows.rows; ++r) {
        std::memcpy(buffer.data() + r * t.row_bytes(), rows.Rows(r, r + 1).data,
                    static_cast<size_t>(t.row_bytes()));
      }
      data = buffer.data();
    }
    Sha256 sha;
    sha.Update(data, static_cast<size_t>(rows.bytes()));
    const Range absolute{row0 + row, row0 + row + rows.rows};
    RETURN_IF_ERROR(files.Write(open.at(t.file), data, rows.bytes(),
                                t.offset + (absolute.begin - t.rows.begin) * t.row_bytes()));
    written.push_back({static_cast<int>(index), absolute, sha.Hex()});
    bytes_written += rows.bytes();
  }
  return absl::OkStatus();
}

absl::Status CheckpointSave::Impl::WriteAll() {
  std::map<int, File> open;
  std::vector<char> buffer;
  for (size_t i = 0; i < layout.tensors.size(); ++i) {
    RETURN_IF_ERROR(WriteTensor(i, open, buffer));
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

absl::StatusOr<Manifest> CheckpointSave::Impl::MakeManifest(
    const std::vector<std::string>& slices_of_ranks) const {
  Manifest m;
  m.step = contents.trainer.step;
  m.run_id = contents.trainer.run_id;
  m.config_hash = contents.trainer.config_hash;
  for (const PlannedFile& file : layout.files) {
    Sha256 sha;
    sha.Update(file.header);
    m.files.push_back({file.name, file.bytes, static_cast<int64_t>(file.header.size()), sha.Hex()});
  }
  m.files.insert(m.files.end(), small_files.begin(), small_files.end());
  const TensorTable& table = *contents.weights.table;
  for (const PlannedTensor& t : layout.tensors) {
    const Range entry_rows =
        t.source < 0 ? t.rows : contents.states[static_cast<size_t>(t.source)].rows;
    m.tensors.push_back({table.tensors[static_cast<size_t>(t.tensor)].name,
                         t.state,
                         t.tensor,
                         t.layout,
                         t.dtype,
                         entry_rows,
                         t.rows,
                         t.cols,
                         t.file,
                         t.offset,
                         {}});
  }
  for (const std::string& text : slices_of_ranks) {
    std::istringstream in(text);
    WrittenSlice s;
    while (in >> s.tensor >> s.rows.begin >> s.rows.end >> s.sha256) {
      m.tensors[static_cast<size_t>(s.tensor)].slices.push_back({s.rows, s.sha256});
    }
  }
  for (ManifestTensor& t : m.tensors) {
    std::sort(t.slices.begin(), t.slices.end(), [](const ManifestSlice& a, const ManifestSlice& b) {
      return a.rows.begin < b.rows.begin;
    });
    RETURN_IF_ERROR(CheckTiling(
        t, Cat("checkpoint of step ", m.step, ": tensor ", t.name, t.state.empty() ? "" : " state ",
               t.state, ": the ranks' rows do not tile it")));
  }
  return m;
}

absl::Status CheckpointSave::Impl::Announce(const std::vector<std::string>& slices_of_ranks) {
  ASSIGN_OR_RETURN(const Manifest manifest, MakeManifest(slices_of_ranks));
  RETURN_IF_ERROR(files.FsyncFolder(temporary + "/state"));
  RETURN_IF_ERROR(files.FsyncFolder(temporary));
  RETURN_IF_ERROR(files.Rename(temporary, folder));
  RETURN_IF_ERROR(files.FsyncFolder(run_folder + "/checkpoints"));
  return files.ReplaceSmall(folder + "/" + kManifestName, ManifestJson(manifest));
}

void CheckpointSave::Impl::Discard() const {
  const FileOps plain;
  (void)plain.RemoveAll(temporary);
  if (!ReadManifest(folder).ok()) (void)plain.RemoveAll(folder);
}

CheckpointSave::CheckpointSave(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CheckpointSave::~CheckpointSave() = default;

absl::StatusOr<std::unique_ptr<CheckpointSave>> CheckpointSave::Begin(const std::string& run_folder,
                                                                      CheckpointContents contents,
                                                                      Communicator* group,
                                                                      SaveOptions options) {
  auto impl = std::make_unique<Impl>(options.hook);
  impl->contents = std::move(contents);
  impl->group = group;
  impl->options = std::move(options);
  impl->run_folder = run_folder;
  impl->folder = CheckpointFolder(run_folder, impl->contents.trainer.step);
  impl->temporary = impl->folder + ".tmp";
  impl->layout = PlanCheckpoint(impl->contents, impl->options.max_file_bytes);
  RETURN_IF_ERROR(impl->AgreeOnPlan());
  absl::Status created;
  std::string announced = "no";
  if (group->rank() == 0) {
    if (ReadManifest(impl->folder).ok()) {
      announced = "yes";
    } else {
      created = impl->CreateFiles();
      if (!created.ok()) impl->Discard();
    }
  }
  RETURN_IF_ERROR(AgreeOnStatus(group, created, "checkpoint files"));
  ASSIGN_OR_RETURN(announced, BroadcastText(group, announced, 0, "checkpoint announced before"));
  impl->announced_before = announced == "yes";
  return std::unique_ptr<CheckpointSave>(new CheckpointSave(std::move(impl)));
}

absl::Status CheckpointSave::Write() {
  return impl_->announced_before ? absl::OkStatus() : impl_->WriteAll();
}

absl::StatusOr<CheckpointInfo> CheckpointSave::Finish(absl::Status written) {
  Impl& impl = *impl_;
  CheckpointInfo info{impl.folder, impl.contents.trainer.step};
  for (const PlannedFile& file : impl.layout.files) info.bytes += file.bytes;
  info.bytes_written = impl.bytes_written;
  if (impl.announced_before) return info;

  const bool first = impl.group->rank() == 0;
  if (const absl::Status all = AgreeOnStatus(impl.group, written, "checkpoint written");
      !all.ok()) {
    if (first) impl.Discard();
    return all;
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> slices,
                   GatherText(impl.group, SlicesText(impl.written), "checkpoint hashes"));
  absl::Status announced;
  if (first) {
    announced = impl.Announce(slices);
    if (!announced.ok()) impl.Discard();
  }
  RETURN_IF_ERROR(AgreeOnStatus(impl.group, announced, "checkpoint announced"));
  return info;
}

absl::StatusOr<CheckpointInfo> SaveCheckpoint(const std::string& run_folder,
                                              CheckpointContents contents, Communicator* group,
                                              SaveOptions options) {
  ASSIGN_OR_RETURN(
      const std::unique_ptr<CheckpointSave> save,
      CheckpointSave::Begin(run_folder, std::move(contents), group, std::move(options)));
  return save->Finish(save->Write());
}

}  // namespace blockstep
