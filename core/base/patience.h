// Pauses of a thread that looks again and again whether something has happened, so that threads
// that share cores do not spin each other to death.
#pragma once

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace blockstep {

// A fresh one after each look that has shown something.
class Patience {
 public:
  // How long to sleep before the next look; 0: only give way to other threads. At first 0, then
  // from kFirstSleep up to kLastSleep, twice as long each time.
  std::chrono::microseconds Next() {
    if (yields_ < kYields) {
      ++yields_;
      return {};
    }
    const std::chrono::microseconds sleep = sleep_;
    sleep_ = std::min(2 * sleep_, kLastSleep);
    return sleep;
  }

  void Pause() {
    const std::chrono::microseconds sleep = Next();
    if (sleep.count() == 0) {
      sched_yield();
    } else {
      std::this_thread::sleep_for(sleep);
    }
  }

 private:
  static constexpr int kYields = 64;
  // A sleep costs about 50 us more than asked, whatever is asked.
  static constexpr std::chrono::microseconds kFirstSleep{5}, kLastSleep{200};

  int yields_ = 0;
  std::chrono::microseconds sleep_ = kFirstSleep;
};

}  // namespace blockstep
