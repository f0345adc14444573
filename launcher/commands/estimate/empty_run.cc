#include "launcher/commands/estimate/empty_run.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr char kModel[] = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
  "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
  "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0, "tie_word_embeddings": false, "initializer_range": 0.02,
  "bos_token_id": 1, "eos_token_id": 2, "vocab_size": 256, "torch_dtype": "float32"
})";

// Ends the child, whatever happens, and never returns.
[[noreturn]] void Become(const std::vector<std::string>& arguments) {
  const int nowhere = open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nowhere, fd);
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  execv("/proc/self/exe", argv.data());
  _exit(127);
}

absl::StatusOr<int64_t> PeakOf(const std::vector<std::string>& arguments) {
  const pid_t child = fork();
  if (child == 0) Become(arguments);
  if (child < 0) return ResourceExhausted("empty run: fork failed: ", std::strerror(errno));
  int state = 0;
  rusage use;
  while (wait4(child, &state, 0, &use) < 0) {
    if (errno != EINTR) return ResourceExhausted("empty run: wait failed: ", std::strerror(errno));
  }
  if (!WIFEXITED(state) || WEXITSTATUS(state) != 0) {
    return FailedPrecondition("empty run: expected exit code 0, got wait status ", state);
  }
  return use.ru_maxrss * 1024;
}

}  // namespace

absl::StatusOr<int64_t> EmptyRunPeak(int ranks, int threads) {
  std::string folder = std::filesystem::temp_directory_path() / "blockstep-empty-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) {
    return NotFound("empty run: no folder ", folder, ": ", std::strerror(errno));
  }
  const std::string model = folder + "/model.json", data = folder + "/tokens.raw";
  std::ofstream(model) << kModel;
  const std::vector<uint16_t> tokens(static_cast<size_t>(ranks) * 64 + 64, 7);
  std::ofstream(data, std::ios::binary)
      .write(reinterpret_cast<const char*>(tokens.data()),
             static_cast<std::streamsize>(tokens.size() * sizeof(uint16_t)));
  const auto set = [](std::string field, const auto& value) { return Cat(field, "=", value); };
  const absl::StatusOr<int64_t> peak = PeakOf({"blockstep", "train",
                                               "--run",     folder + "/run",
                                               "--set",     set("model.config", model),
                                               "--set",     set("data.train", data),
                                               "--set",     set("data.tokens", 16),
                                               "--set",     set("batch.slots", ranks),
                                               "--set",     set("train.steps", 2),
                                               "--set",     set("runtime.transport", "local"),
                                               "--set",     set("runtime.local_ranks", ranks),
                                               "--set",     set("runtime.threads", threads)});
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return peak;
}

}  // namespace blockstep
