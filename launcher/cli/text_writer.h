// Text for people on a descriptor that may not be read: a pipe whose reader sleeps and a terminal
// that is paused block write(2) for as long as they like, and training must not wait for that. A
// thread of its own does the writing; the queue before it has a bound.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace blockstep {

struct TextWriterOptions {
  int fd = 2;
  size_t max_bytes = size_t{256} << 10;  // queued; beyond it the oldest texts are dropped
  // Write waits this long for its text to be written, so that a process that dies right after has
  // said it. Once that was in vain, not again until the reader has caught up.
  double hand_over_s = 0.1;
};

class TextWriter {
 public:
  explicit TextWriter(TextWriterOptions options);
  // Leaves the thread behind where it is stuck.
  ~TextWriter();

  // Any thread. In order; never waits for a reader longer than hand_over_s. Where texts were
  // dropped, a line in their place says how many. Write errors drop the text.
  void Write(std::string text);
  // True: everything is written. False: for `limit_s` nobody took a byte.
  bool Flush(double limit_s);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// This process's stderr, and "blockstep: `text`\n" there.
TextWriter& Stderr();
void Say(const std::string& text);

// Given to a reader that takes nothing before a process ends without him.
inline constexpr double kLastWordsS = 5;

}  // namespace blockstep
