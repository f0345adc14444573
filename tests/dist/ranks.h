// Runs one function per rank, each on a thread of its own with a communicator of a local group, or
// with the two of a pair.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "dist/local/local_communicator.h"

namespace blockstep {

inline void RunRanks(int ranks, const LocalOptions& options,
                     const std::function<void(Communicator&)>& body) {
  auto group = LocalGroup::Create(ranks, options);
  std::vector<std::thread> threads;
  for (auto& communicator : group) {
    threads.emplace_back([&body, &communicator] { body(*communicator); });
  }
  for (std::thread& t : threads) t.join();
}

inline void RunPairs(int ranks, const LocalOptions& options,
                     const std::function<void(const RankGroup&)>& body) {
  auto pairs = LocalGroup::CreatePairs(ranks, options);
  std::vector<std::thread> threads;
  for (auto& pair : pairs) {
    threads.emplace_back([&body, &pair] { body(pair.group()); });
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace blockstep
