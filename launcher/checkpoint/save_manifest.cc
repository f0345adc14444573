#include "launcher/checkpoint/save_manifest.h"

#include <algorithm>
#include <sstream>

#include "core/base/sha256.h"
#include "core/base/status.h"

namespace blockstep {

std::string SlicesText(const std::vector<WrittenSlice>& slices) {
  std::ostringstream out;
  for (const WrittenSlice& s : slices) {
    out << s.tensor << ' ' << s.rows.begin << ' ' << s.rows.end << ' ' << s.sha256 << '\n';
  }
  return std::move(out).str();
}

absl::StatusOr<Manifest> MakeManifest(const CheckpointContents& contents,
                                      const CheckpointLayout& layout,
                                      const std::vector<ManifestFile>& small_files,
                                      const std::vector<std::string>& slices_of_ranks) {
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
        t, Cat("checkpoint at step ", m.step, ": tensor ", t.name, t.state.empty() ? "" : " state ",
               t.state, ": the rows written by the ranks overlap or leave gaps")));
  }
  return m;
}

}  // namespace blockstep
