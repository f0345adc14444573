// stream.Wait(event), leaving a span that shows how long the stream stood still.
#pragma once

#include <memory>

#include "core/base/trace.h"
#include "core/device/stream.h"

namespace blockstep {

inline void TracedWait(Stream& stream, const Event& event, Tracer* tracer, const char* what) {
  if (tracer == nullptr || event.done()) return stream.Wait(event);
  const auto span = std::make_shared<TraceSpan>(TraceSpan{.name = what, .stream = stream.name()});
  stream.BeginSpan(span);
  stream.Wait(event);
  stream.EndSpan(span, tracer);
}

}  // namespace blockstep
