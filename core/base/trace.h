// Spans of what ran when, kept in memory and written as Chrome trace JSON (chrome://tracing,
// Perfetto). Overlap of communication with compute is shown from these, not from totals.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace blockstep {

struct TraceSpan {
  std::string name;    // "gather layer 3"
  std::string stream;  // "compute", "comm"
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
};

class Tracer {
 public:
  static int64_t Now();
  static double SecondsSince(int64_t begin_ns);  // a time of Now()
  void Add(TraceSpan span);
  std::vector<TraceSpan> spans() const;
  absl::Status WriteJson(const std::string& path, int rank) const;

 private:
  mutable std::mutex mutex_;
  std::vector<TraceSpan> spans_;
};

// Records from construction to destruction; a null tracer costs one branch.
class ScopedSpan {
 public:
  ScopedSpan(Tracer* tracer, const char* stream, std::string name);
  ~ScopedSpan();

 private:
  Tracer* tracer_;
  TraceSpan span_;
};

}  // namespace blockstep
