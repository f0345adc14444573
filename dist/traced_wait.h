// stream.Wait(event), leaving a span that shows how long the stream stood still.
#pragma once

#include <string>

#include "core/base/trace.h"
#include "core/device/stream.h"

namespace blockstep {

inline void TracedWait(Stream& stream, const Event& event, Tracer* tracer, const char* what) {
  if (tracer == nullptr || event.done()) return stream.Wait(event);
  stream.Run([event, tracer, what] {
    ScopedSpan span(tracer, "compute", what);
    event.Block();
  });
}

}  // namespace blockstep
