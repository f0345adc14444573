#include "core/base/trace.h"

#include <fstream>

#include "core/base/status.h"

namespace blockstep {

int64_t Tracer::Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double Tracer::SecondsSince(int64_t begin_ns) {
  return static_cast<double>(Now() - begin_ns) * 1e-9;
}

void Tracer::Add(TraceSpan span) {
  std::lock_guard lock(mutex_);
  spans_.push_back(std::move(span));
}

std::vector<TraceSpan> Tracer::spans() const {
  std::lock_guard lock(mutex_);
  return spans_;
}

absl::Status Tracer::WriteJson(const std::string& path, int rank) const {
  std::ofstream out(path);
  out << "[\n";
  const char* separator = "";
  for (const TraceSpan& s : spans()) {
    out << separator << R"({"ph":"X","pid":)" << rank << R"(,"tid":")" << s.stream
        << R"(","name":")" << s.name << R"(","ts":)" << s.begin_ns / 1000 << R"(,"dur":)"
        << (s.end_ns - s.begin_ns) / 1000 << "}";
    separator = ",\n";
  }
  out << "\n]\n";
  out.close();
  if (!out) return ResourceExhausted("trace file ", path, ": cannot be written");
  return absl::OkStatus();
}

ScopedSpan::ScopedSpan(Tracer* tracer, const char* stream, std::string name) : tracer_(tracer) {
  if (tracer_ != nullptr) span_ = {std::move(name), stream, Tracer::Now(), 0};
}

ScopedSpan::~ScopedSpan() {
  if (tracer_ == nullptr) return;
  span_.end_ns = Tracer::Now();
  tracer_->Add(std::move(span_));
}

}  // namespace blockstep
