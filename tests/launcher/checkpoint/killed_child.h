// Work in a process of its own that ends before a chosen file operation, and what it had done.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/launcher/checkpoint/checkpoint_fixture.h"

namespace blockstep {

inline constexpr int kKilled = 77;  // exit code

struct Traced {
  FileOp op;
  int writer = 0;
};

// A hook that is called by ranks as threads, one at a time; writers are numbered as they come.
class Recorder {
 public:
  FileHook Hook(std::function<absl::Status(int64_t index)> then = nullptr) {
    return [this, then](const FileOp& op) {
      std::lock_guard lock(mutex_);
      const auto writer =
          writers_.try_emplace(std::this_thread::get_id(), static_cast<int>(writers_.size()));
      trace_.push_back({op, writer.first->second});
      return then ? then(static_cast<int64_t>(trace_.size()) - 1) : absl::OkStatus();
    };
  }
  const std::vector<Traced>& trace() const { return trace_; }

 private:
  std::mutex mutex_;
  std::map<std::thread::id, int> writers_;
  std::vector<Traced> trace_;
};

inline std::string Text(const Traced& t) {
  return Cat(static_cast<int>(t.op.kind), "\t", t.writer, "\t", t.op.path, "\t", t.op.to, "\n");
}
inline std::vector<Traced> ParseTrace(const std::string& text) {
  std::vector<Traced> trace;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string kind, writer, path, to;
    std::getline(fields, kind, '\t');
    std::getline(fields, writer, '\t');
    std::getline(fields, path, '\t');
    std::getline(fields, to, '\t');
    trace.push_back({{static_cast<FileOpKind>(std::stoi(kind)), path, to}, std::stoi(writer)});
  }
  return trace;
}

struct ChildResult {
  bool killed = false;
  std::vector<Traced> done;  // operations before the end
};

// Runs `work` in a process of its own that ends before operation `at` of those that `counts`
// (null: all).
inline ChildResult RunAndKill(const std::string& trace_path, int64_t at,
                              const std::function<bool(FileHook)>& work,
                              const std::function<bool(const FileOp&)>& counts = nullptr) {
  std::filesystem::remove(trace_path);
  const pid_t child = fork();
  CHECK_LE(0, child);
  if (child == 0) {
    const int fd = open(trace_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    Recorder recorder;
    int64_t counted = 0;
    const bool ok = work(recorder.Hook([&](int64_t) {
      const Traced& next = recorder.trace().back();
      if ((!counts || counts(next.op)) && counted++ == at) _exit(kKilled);
      const std::string line = Text(next);
      CHECK_EQ(write(fd, line.data(), line.size()), static_cast<ssize_t>(line.size()));
      return absl::OkStatus();
    }));
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == kKilled);
  return {WEXITSTATUS(status) == kKilled, ParseTrace(ReadText(trace_path))};
}

}  // namespace blockstep
