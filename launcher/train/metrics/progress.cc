#include "launcher/train/metrics/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace blockstep {
namespace {

template <typename... Args>
std::string Format(const char* format, Args... args) {
  char text[128];
  std::snprintf(text, sizeof(text), format, args...);
  return text;
}

std::string Speed(double tokens_per_second) {
  if (tokens_per_second >= 1e6) return Format("%.2fM tok/s", tokens_per_second / 1e6);
  if (tokens_per_second >= 1e4) return Format("%.1fk tok/s", tokens_per_second / 1e3);
  return Format("%.0f tok/s", tokens_per_second);
}

}  // namespace

std::string Duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 100 * 86400.0) return "?";
  const long long s = std::llround(seconds);
  if (s >= 86400) return Format("%lldd%02lldh", s / 86400, s % 86400 / 3600);
  if (s >= 3600) return Format("%lldh%02lldm", s / 3600, s % 3600 / 60);
  if (s >= 60) return Format("%lldm%02llds", s / 60, s % 60);
  return Format("%llds", s);
}

std::string ProgressLine(const ProgressOptions& options, const ProgressStep& step) {
  const int64_t done = step.step + 1 - options.first_step;
  const double left = static_cast<double>(options.total_steps - step.step - 1);
  std::string line =
      Format("step %lld/%lld  loss %.4f  lr %.3g", static_cast<long long>(step.step + 1),
             static_cast<long long>(options.total_steps), step.loss, step.lr);
  if (step.seconds > 0) {
    line += "  " + Speed(static_cast<double>(step.tokens) / step.seconds);
    line += "  ETA " + Duration(step.seconds / static_cast<double>(done) * left);
  }
  if (!step.block.empty()) line += "  [" + step.block + "]";
  return line;
}

void ProgressPrinter::Step(const ProgressStep& step) {
  const bool edge = step.step == options_.first_step || step.step + 1 == options_.total_steps;
  if (!options_.terminal) {
    if (edge || (step.step + 1) % std::max<int64_t>(options_.plain_every, 1) == 0) {
      write_(ProgressLine(options_, step) + "\n");
    }
    return;
  }
  std::string line = ProgressLine(options_, step);
  const size_t length = line.size();
  if (length < shown_) line.append(shown_ - length, ' ');  // wipes the rest of a longer line
  shown_ = length;
  write_("\r" + line);
}

void ProgressPrinter::Note(const std::string& text) {
  End();
  write_(text + "\n");
}

void ProgressPrinter::End() {
  if (shown_ > 0) write_("\n");
  shown_ = 0;
}

}  // namespace blockstep
