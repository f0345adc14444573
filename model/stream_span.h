// A trace span from where the stream reaches the construction to where it reaches the destruction;
// digests of ops take its name.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/base/str.h"
#include "core/base/trace.h"
#include "core/device/stream.h"
#include "core/ops/digest_kernels.h"

namespace blockstep {

class StreamSpan {
 public:
  StreamSpan(Tracer* tracer, Stream& stream, std::string_view what, int64_t index = -1)
      : tracer_(tracer), stream_(stream) {
    OpNotes* notes = OpNotes::OfThread();
    if (tracer_ == nullptr && notes == nullptr) return;
    const std::string name = index < 0 ? std::string(what) : Cat(what, " ", index);
    if (notes != nullptr) notes->SetScope(name);
    if (tracer_ == nullptr) return;
    span_ = std::make_shared<TraceSpan>();
    span_->name = name;
    span_->stream = stream.name();
    stream_.BeginSpan(span_);
  }
  StreamSpan(const StreamSpan&) = delete;
  ~StreamSpan() {
    if (tracer_ != nullptr) stream_.EndSpan(span_, tracer_);
  }

 private:
  Tracer* tracer_;
  Stream& stream_;
  Stream::Span span_;
};

}  // namespace blockstep
