#include "launcher/run/run_files.h"

#include <unistd.h>

#include <filesystem>

#include "core/base/errno_status.h"
#include "core/base/status.h"

namespace blockstep {

namespace fs = std::filesystem;

std::vector<std::string> TokenizerFiles(const std::string& path) {
  if (path.empty()) return {};
  if (!fs::is_directory(path)) return {path};
  std::vector<std::string> files;
  for (const char* name : {"tokenizer.model", "tokenizer.json", "tokenizer_config.json",
                           "special_tokens_map.json", "generation_config.json"}) {
    if (fs::exists(fs::path(path) / name)) files.push_back(fs::path(path) / name);
  }
  return files;
}

absl::Status CheckRunFiles(const TrainConfig& config, const std::string& tokenizer) {
  if (config.data.train.empty() && config.runtime.backend != BackendKind::kNull) {
    return InvalidArgument("data.train: expected at least one token file, got none");
  }
  if (!tokenizer.empty() && !fs::exists(tokenizer)) {
    return NotFound("--tokenizer ", tokenizer,
                    ": does not exist; expected a tokenizer file or folder");
  }
  if (!tokenizer.empty() && TokenizerFiles(tokenizer).empty()) {
    return NotFound("--tokenizer ", tokenizer,
                    ": expected tokenizer.model or tokenizer.json, got neither");
  }
  if (config.runtime.trace.empty()) return absl::OkStatus();
  const std::string folder = fs::absolute(config.runtime.trace).parent_path().string();
  if (access(folder.c_str(), W_OK) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, Cat("runtime.trace ", config.runtime.trace, ": not writable"));
}

}  // namespace blockstep
