// What a rank's training waits for on a disk, and which operation is in hand there, for whoever
// watches from another thread: a disk that no longer answers (a file server that is gone) blocks
// the call that uses it for good, and nothing inside the process can take that call back.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "core/base/trace.h"

namespace blockstep {

class DiskWatch {
 public:
  // `now_ns` is the clock of all times below.
  explicit DiskWatch(std::function<int64_t()> now_ns = Tracer::Now) : now_ns_(std::move(now_ns)) {}

  // Any thread. An operation begins; the one before is over.
  void Operation(std::string operation);
  // Nothing is in hand.
  void Idle() { Operation(""); }

  // Training stands still while one of these lives. The innermost counts.
  class Wait {
   public:
    // `watch` may be null: nobody watches.
    Wait(DiskWatch* watch, std::string what);
    ~Wait();
    Wait(const Wait&) = delete;

   private:
    DiskWatch* watch_;
    std::string what_before_;
    int64_t since_before_ = 0;
  };

  struct State {
    std::string waits_for;  // empty: training goes on
    double waited_s = 0;
    std::string operation;  // in hand; empty: none that is known
    double operation_s = 0;
    // For how long training has waited without anything getting on.
    double stuck_s = 0;
    int64_t waits = 0;  // that began or ended so far
  };
  State Look() const;

 private:
  double SecondsSince(int64_t since_ns) const {
    return static_cast<double>(now_ns_() - since_ns) * 1e-9;
  }

  const std::function<int64_t()> now_ns_;
  mutable std::mutex mutex_;
  std::string what_, operation_;
  int64_t wait_since_ns_ = 0, operation_since_ns_ = 0;
  int64_t waits_ = 0;
};

}  // namespace blockstep
