// What malloc keeps after threads have come, worked and gone: with LimitHeap and, so that the test
// shows something, without it. Each case is a process, as the settings are.
#include <malloc.h>

#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "launcher/machine/process_memory.h"

namespace blockstep {
namespace {

constexpr int kThreads = 8;
constexpr size_t kKept = 2 << 20;

// Threads that hold buffers of a save and of messages all at once, twice over, and free them all.
void Work() {
  for (int pass = 0; pass < 2; ++pass) {
    std::barrier all(kThreads);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&all] {
        std::vector<std::vector<char>> held;
        for (const size_t bytes : {1 << 20, 3 << 20, 1 << 20, 200 << 10, 3000, 700}) {
          held.emplace_back(bytes, 'x');
        }
        all.arrive_and_wait();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

size_t Arenas() {
  char* text = nullptr;
  size_t bytes = 0, count = 0;
  std::FILE* out = open_memstream(&text, &bytes);
  malloc_info(0, out);
  std::fclose(out);
  for (const char* at = text; (at = std::strstr(at, "<heap nr=")) != nullptr; ++at) ++count;
  std::free(text);
  return count;
}

// Ends this process: 0 if malloc keeps little, 1 if it keeps much.
[[noreturn]] void Judge() {
  Work();
  const size_t kept = mallinfo2().fordblks, arenas = Arenas();
  std::fprintf(stderr, "%zu bytes kept in %zu arenas\n", kept, arenas);
  std::_Exit(kept < kKept && arenas <= 2 ? 0 : 1);
}

TEST(HeapDeathTest, KeepsLittleOfWhatThreadsHaveFreed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT((LimitHeap(), Judge()), testing::ExitedWithCode(0), "bytes kept in [12] arenas");
}

TEST(HeapDeathTest, WithoutLimitsItKeepsMuch) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(Judge(), testing::ExitedWithCode(1), "bytes kept in");
}

}  // namespace
}  // namespace blockstep
