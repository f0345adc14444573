#include "launcher/cli/text_writer.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "core/base/str.h"

namespace blockstep {
namespace {

// At most what a pipe takes as a whole, so that a slow reader shows by bytes that move.
constexpr size_t kChunk = 4096;

}  // namespace

// Shared with the thread, which may outlive the writer.
struct TextWriter::State {
  explicit State(TextWriterOptions options) : o(options) {}

  const TextWriterOptions o;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> queue;
  size_t bytes = 0;      // of queue
  int64_t given = 0;     // texts so far
  int64_t dropped = 0;   // that have not been spoken of
  int64_t chunks = 0;    // that a reader took
  bool writing = false;  // a text is in the thread's hands
  bool late = false;     // the reader is behind
  bool ending = false;

  int64_t done() const { return given - static_cast<int64_t>(queue.size()) - (writing ? 1 : 0); }
  void WriteOut(std::string_view text);
  void Loop();
};

void TextWriter::State::WriteOut(std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = write(o.fd, text.data(), std::min(text.size(), kChunk));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && errno == EAGAIN) {  // someone else who has it open made it non-blocking
      pollfd writable{.fd = o.fd, .events = POLLOUT, .revents = 0};
      poll(&writable, 1, -1);
      continue;
    }
    if (wrote <= 0) return;
    text.remove_prefix(static_cast<size_t>(wrote));
    std::lock_guard lock(mutex);
    ++chunks;
    changed.notify_all();
  }
}

void TextWriter::State::Loop() {
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [this] { return ending || !queue.empty(); });
    if (queue.empty()) return;
    std::string text;
    if (dropped > 0) {
      text = Cat("blockstep: ", std::exchange(dropped, 0),
                 " messages dropped: nobody read this output\n");
    }
    text += queue.front();
    bytes -= queue.front().size();
    queue.pop_front();
    writing = true;
    lock.unlock();
    WriteOut(text);
    lock.lock();
    writing = false;
    if (queue.empty()) late = false;
    changed.notify_all();
  }
}

TextWriter::TextWriter(TextWriterOptions options) : state_(std::make_shared<State>(options)) {
  std::thread([state = state_] { state->Loop(); }).detach();
}

TextWriter::~TextWriter() {
  std::lock_guard lock(state_->mutex);
  state_->ending = true;
  state_->changed.notify_all();
}

void TextWriter::Write(std::string text) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  while (!s.queue.empty() && s.bytes + text.size() > s.o.max_bytes) {
    s.bytes -= s.queue.front().size();
    s.queue.pop_front();
    ++s.dropped;
  }
  s.bytes += text.size();
  s.queue.push_back(std::move(text));
  const int64_t mine = ++s.given;
  s.changed.notify_all();
  if (s.late) return;
  const bool written = s.changed.wait_for(lock, std::chrono::duration<double>(s.o.hand_over_s),
                                          [&] { return s.done() >= mine; });
  if (!written) s.late = true;
}

bool TextWriter::Flush(double limit_s) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  while (s.done() < s.given) {
    const int64_t seen = s.chunks;
    if (!s.changed.wait_for(lock, std::chrono::duration<double>(limit_s),
                            [&] { return s.done() == s.given || s.chunks != seen; })) {
      return false;
    }
  }
  return true;
}

// Never destroyed: other threads may speak until the process is gone.
TextWriter& Stderr() {
  static TextWriter* const writer = new TextWriter({.fd = STDERR_FILENO});
  return *writer;
}

void Say(const std::string& text) { Stderr().Write(Cat("blockstep: ", text, "\n")); }

}  // namespace blockstep
