// A run of any length needs the same memory: server, ranks and gRPC between them in one process,
// and what malloc has handed out after n and after 2n steps.
#include <malloc.h>

#include <algorithm>
#include <cstdio>

#include "gtest/gtest.h"
#include "tests/launcher/coordinator/client_runs.h"

namespace blockstep {
namespace {

constexpr int64_t kSteps = 1500, kBytesPerStep = 32;

// The least of some looks: calls under way hold a few KiB now and then.
int64_t BytesInUse() {
  int64_t least = INT64_MAX;
  for (int look = 0; look < 40; ++look) {
    const struct mallinfo2 now = mallinfo2();
    least = std::min(least, static_cast<int64_t>(now.uordblks + now.hblkhd));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return least;
}

TEST(CoordinatorMemory, DoesNotGrowWithTheSteps) {
  CoordinatorServerOptions options = ServerOptions();
  options.run.total_steps = 3 * kSteps;
  const auto server = Started(options);
  const std::vector<Client> clients = JoinAll(server->address(), 2);
  const auto leader = Leading(clients[0].get());
  int64_t done = 0;
  // A directive and a report for every step: the policy's horizon is 1 + lag.
  const auto run_until = [&](int64_t step) {
    std::thread other([&] { RunRank(clients[1].get(), 1, done, step); });
    RunRank(leader.get(), 0, done, step);
    other.join();
    while (server->state().Status().next_step() < step) std::this_thread::yield();
    done = step;
    return BytesInUse();
  };
  run_until(kSteps);  // what is made once is there
  const int64_t once = run_until(2 * kSteps);
  const int64_t twice = run_until(3 * kSteps);
  std::printf("%ld bytes in use, then %ld\n", once, twice);
  EXPECT_LT(twice - once, kBytesPerStep * kSteps);
}

}  // namespace
}  // namespace blockstep
