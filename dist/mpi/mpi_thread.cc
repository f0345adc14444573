#include "dist/mpi/mpi_thread.h"

#include <sched.h>

#include "core/base/patience.h"

namespace blockstep {
namespace {

bool Moved(LaneLook look) { return look == LaneLook::kDone || look == LaneLook::kMoved; }

}  // namespace

MpiThread::MpiThread() : thread_([this] { Loop(); }) {}

MpiThread::~MpiThread() {
  stop_ = true;
  bell_->Ring();
  thread_.join();
}

void MpiThread::Loop() {
  for (Patience patience;;) {
    const bool stop = stop_;
    const LaneLook control = control_.Look(), data = data_.Look();
    if (Moved(control) || Moved(data)) {
      patience = {};
    } else if (control == LaneLook::kWaiting || data == LaneLook::kWaiting) {
      const std::chrono::microseconds nap = patience.Next();
      if (nap.count() == 0) {
        sched_yield();
      } else {
        bell_->Nap(nap);  // what is handed in meanwhile does not wait for the end of the pause
      }
    } else if (stop && control == LaneLook::kEmpty && data == LaneLook::kEmpty) {
      return;
    } else {
      bell_->Sleep();
    }
  }
}

}  // namespace blockstep
