// One line for people: step, loss, lr, speed, what learns, time left. On a terminal it is rewritten
// in place; elsewhere it is a plain line every so often.
#pragma once

#include <functional>
#include <string>

#include "launcher/train/metrics/json_lines.h"

namespace blockstep {

struct ProgressOptions {
  int64_t total_steps = 0;
  int64_t first_step = 0;    // of this process: a resumed run's speed is its own
  bool terminal = false;     // isatty(stderr)
  int64_t plain_every = 10;  // steps between plain lines; the first and last are always shown
};

// What one step shows; `seconds` is the time since first_step began, `tokens` those trained on in
// it.
struct ProgressStep {
  int64_t step = 0;
  double loss = 0;
  double lr = 0;
  std::string block;
  double seconds = 0;
  int64_t tokens = 0;
};

std::string ProgressLine(const ProgressOptions& options, const ProgressStep& step);
// "2h05m", "3m07s", "12s"; "?" if unknown or beyond 100 days.
std::string Duration(double seconds);

class ProgressPrinter {
 public:
  // `write` is given whole texts, to be shown at once.
  ProgressPrinter(ProgressOptions options, std::function<void(std::string text)> write)
      : options_(options), write_(std::move(write)) {}
  void Step(const ProgressStep& step);
  // A line of its own (a save, an evaluation), clear of the one that is rewritten.
  void Note(const std::string& text);
  void End();  // leaves the cursor on a fresh line

 private:
  ProgressOptions options_;
  std::function<void(std::string text)> write_;
  size_t shown_ = 0;  // characters of the line that is on the terminal
};

}  // namespace blockstep
