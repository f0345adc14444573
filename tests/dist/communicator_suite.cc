#include "tests/dist/communicator_suite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace blockstep {
namespace {

const int64_t kSizes[] = {0, 1, 4, 100, 1000, 70000};

// N + 1 offsets: rank r has about `each` elements, unequal, some none.
std::vector<int64_t> Unequal(int ranks, int64_t each) {
  std::vector<int64_t> offsets{0};
  for (int r = 0; r < ranks; ++r) offsets.push_back(offsets.back() + (r % 3 == 1 ? 0 : each + r));
  return offsets;
}
std::vector<int64_t> InBytes(std::vector<int64_t> offsets) {
  for (int64_t& o : offsets) o *= static_cast<int64_t>(sizeof(float));
  return offsets;
}
float Value(int rank, int64_t i) { return static_cast<float>((rank + 1) * 1000 + i % 997); }

void AllGather(Communicator& c) {
  for (const int64_t size : kSizes) {
    const std::vector<int64_t> offsets = Unequal(c.size(), size);
    std::vector<std::vector<float>> data(3, std::vector<float>(offsets.back(), -1.0f));
    std::vector<GatherSegment> segments;
    for (auto& d : data) {
      for (int64_t i = offsets[c.rank()]; i < offsets[c.rank() + 1]; ++i) {
        d[i] = Value(c.rank(), i);
      }
      segments.push_back({d.data(), InBytes(offsets)});
    }
    const int64_t before = c.bytes_sent().all_gather;
    c.AllGather(segments, "suite");
    ASSERT_TRUE(c.stream().Synchronize().ok()) << c.stream().status();
    const int64_t own = offsets[c.rank() + 1] - offsets[c.rank()];
    EXPECT_EQ(c.bytes_sent().all_gather - before, 3 * 4 * own * (c.size() - 1));
    for (int r = 0; r < c.size(); ++r) {
      for (int64_t i = offsets[r]; i < offsets[r + 1]; ++i) {
        for (const auto& d : data) ASSERT_EQ(d[i], Value(r, i)) << "size " << size << " at " << i;
      }
    }
  }
}

void ReduceScatter(Communicator& c) {
  const int n = c.size();
  for (const int64_t size : kSizes) {
    for (const bool in_place : {false, true}) {
      const std::vector<int64_t> offsets = Unequal(n, size);
      const int64_t begin = offsets[c.rank()], own = offsets[c.rank() + 1] - begin;
      std::vector<float> a(offsets.back()), b(offsets.back()), out_a(own, -1), out_b(own, -1);
      for (int64_t i = 0; i < offsets.back(); ++i) {
        a[i] = Value(c.rank(), i);
        b[i] = -2 * Value(c.rank(), i);
      }
      float* to_a = in_place ? a.data() + begin : out_a.data();
      float* to_b = in_place ? b.data() + begin : out_b.data();
      const int64_t before = c.bytes_sent().reduce_scatter;
      c.ReduceScatter({{a.data(), to_a, offsets}, {b.data(), to_b, offsets}}, "suite");
      ASSERT_TRUE(c.stream().Synchronize().ok()) << c.stream().status();
      EXPECT_EQ(c.bytes_sent().reduce_scatter - before, 2 * 4 * (offsets.back() - own));
      for (int64_t i = 0; i < own; ++i) {
        const float want = n * (n + 1) / 2 * 1000.0f + n * ((begin + i) % 997);
        ASSERT_EQ(to_a[i], want) << "size " << size << " in place " << in_place;
        ASSERT_EQ(to_b[i], -2 * want);
      }
    }
  }
}

// Values whose sum depends on the order: added rank by rank, so equal on every transport.
void ReduceScatterAddsInRankOrder(Communicator& c) {
  const auto value = [](int rank, int64_t i) {
    return rank == 0 ? 1e8f : 1.0f / static_cast<float>(rank + 1 + i);
  };
  std::vector<int64_t> offsets(c.size() + 1);
  for (int r = 0; r <= c.size(); ++r) offsets[r] = 50 * r;
  std::vector<float> in(offsets.back()), out(50);
  for (int64_t i = 0; i < offsets.back(); ++i) in[i] = value(c.rank(), i);
  c.ReduceScatter({{in.data(), out.data(), offsets}}, "suite");
  ASSERT_TRUE(c.stream().Synchronize().ok()) << c.stream().status();
  for (int64_t i = 0; i < 50; ++i) {
    float want = value(0, offsets[c.rank()] + i);
    for (int r = 1; r < c.size(); ++r) want += value(r, offsets[c.rank()] + i);
    ASSERT_EQ(out[i], want);
  }
}

void Broadcast(Communicator& c) {
  for (int root = 0; root < c.size(); ++root) {
    for (const int64_t size : kSizes) {
      std::vector<float> data(size, -1.0f);
      if (c.rank() == root) {
        for (int64_t i = 0; i < size; ++i) data[i] = Value(root, i);
      }
      const int64_t before = c.bytes_sent().broadcast;
      c.Broadcast(data.data(), size * 4, root, "suite");
      ASSERT_TRUE(c.stream().Synchronize().ok()) << c.stream().status();
      EXPECT_EQ(c.bytes_sent().broadcast - before,
                c.rank() == root ? size * 4 * (c.size() - 1) : 0);
      for (int64_t i = 0; i < size; ++i) ASSERT_EQ(data[i], Value(root, i));
    }
  }
}

// Everyone sends two messages to everyone, itself too; sizes differ per pair.
void Exchange(Communicator& c) {
  for (const int64_t size : kSizes) {
    const auto count = [&](int from, int to) { return size * (from + 1) / (to + 1); };
    std::vector<std::vector<float>> out, in;
    std::vector<PeerSend> sends;
    std::vector<PeerRecv> recvs;
    int64_t to_others = 0;
    for (int which = 0; which < 2; ++which) {
      for (int peer = 0; peer < c.size(); ++peer) {
        out.emplace_back(count(c.rank(), peer));
        for (int64_t i = 0; i < count(c.rank(), peer); ++i) {
          out.back()[i] = Value(c.rank(), i) + peer * 10 + which;
        }
        sends.push_back({peer, out.back().data(), count(c.rank(), peer) * 4});
        in.emplace_back(count(peer, c.rank()), -1.0f);
        recvs.push_back({peer, in.back().data(), count(peer, c.rank()) * 4});
        if (peer != c.rank()) to_others += count(c.rank(), peer) * 4;
      }
    }
    const int64_t before = c.bytes_sent().exchange;
    c.Exchange(sends, recvs, "suite");
    ASSERT_TRUE(c.stream().Synchronize().ok()) << c.stream().status();
    EXPECT_EQ(c.bytes_sent().exchange - before, to_others);
    for (size_t m = 0; m < in.size(); ++m) {
      const int peer = static_cast<int>(m) % c.size(), which = static_cast<int>(m) / c.size();
      for (size_t i = 0; i < in[m].size(); ++i) {
        ASSERT_EQ(in[m][i], Value(peer, static_cast<int64_t>(i)) + c.rank() * 10 + which);
      }
    }
  }
}

// Calls of all kinds in a row without a host wait between them, then one fence.
void Interleaving(Communicator& c) {
  const int n = c.size();
  constexpr int kRounds = 20;
  std::vector<std::vector<float>> gathered(kRounds, std::vector<float>(n, -1));
  std::vector<std::vector<float>> reduced(kRounds, std::vector<float>(n));
  std::vector<float> ring_out(kRounds), ring_in(kRounds, -1), cast(kRounds);
  std::vector<int64_t> offsets(n + 1);
  std::iota(offsets.begin(), offsets.end(), 0);
  for (int k = 0; k < kRounds; ++k) {
    gathered[k][c.rank()] = Value(c.rank(), k);
    std::fill(reduced[k].begin(), reduced[k].end(), static_cast<float>(c.rank() + k));
    ring_out[k] = Value(c.rank(), k);
    cast[k] = static_cast<float>(c.rank() == k % n ? k : -1);
    c.AllGather({{gathered[k].data(), InBytes(offsets)}}, "gather");
    c.Exchange({{(c.rank() + 1) % n, &ring_out[k], 4}}, {{(c.rank() + n - 1) % n, &ring_in[k], 4}},
               "ring");
    c.ReduceScatter({{reduced[k].data(), reduced[k].data() + c.rank(), offsets}}, "reduce");
    if (k % 5 == 0) c.Barrier("barrier");
    c.Broadcast(&cast[k], 4, k % n, "cast");
  }
  ASSERT_TRUE(c.stream().Synchronize().ok()) << c.stream().status();
  for (int k = 0; k < kRounds; ++k) {
    for (int r = 0; r < n; ++r) EXPECT_EQ(gathered[k][r], Value(r, k));
    EXPECT_EQ(ring_in[k], Value((c.rank() + n - 1) % n, k));
    EXPECT_EQ(reduced[k][c.rank()], static_cast<float>(n * (n - 1) / 2 + n * k));
    EXPECT_EQ(cast[k], static_cast<float>(k));
  }
  const CommProgress progress = c.progress();
  EXPECT_EQ(progress.op, "broadcast");
  EXPECT_EQ(progress.what, "cast");
  EXPECT_FALSE(progress.running);
}

void HostAllGather(Communicator& c) {
  const int64_t mine = 7 * c.rank() + 3;
  std::vector<int64_t> all(c.size());
  const absl::Status status = c.HostAllGather(&mine, sizeof mine, all.data(), "suite");
  ASSERT_TRUE(status.ok()) << status;
  for (int r = 0; r < c.size(); ++r) EXPECT_EQ(all[r], 7 * r + 3);
}

// Even and odd ranks, twice over.
void Split(Communicator& c) {
  std::vector<int> colors;
  for (int r = 0; r < c.size(); ++r) colors.push_back(r % 2);
  for (int again = 0; again < 2; ++again) {
    auto part = c.Split(colors);
    ASSERT_TRUE(part.ok()) << part.status();
    Communicator& p = **part;
    const int members = (c.size() + 1 - c.rank() % 2) / 2;
    ASSERT_EQ(p.size(), members);
    EXPECT_EQ(p.rank(), c.rank() / 2);
    const int mine = c.rank();
    std::vector<int> all(members);
    const absl::Status status = p.HostAllGather(&mine, sizeof mine, all.data(), "suite");
    ASSERT_TRUE(status.ok()) << status;
    for (int i = 0; i < members; ++i) EXPECT_EQ(all[i], 2 * i + c.rank() % 2);
  }
}

void Buffer(Communicator& c) {
  constexpr int64_t kEach = 1000;
  auto buffer = c.AllocateBuffer(c.size() * kEach);
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  char* data = static_cast<char*>(*buffer);
  std::fill_n(data + c.rank() * kEach, kEach, static_cast<char>('a' + c.rank()));
  GatherSegment segment{.base = data};
  for (int r = 0; r <= c.size(); ++r) segment.offsets.push_back(r * kEach);
  c.AllGather({segment}, "suite");
  ASSERT_TRUE(c.stream().Synchronize().ok());
  for (int64_t i = 0; i < c.size() * kEach; ++i) ASSERT_EQ(data[i], 'a' + i / kEach);
}

}  // namespace

const std::vector<CommunicatorCase>& CommunicatorSuite() {
  static const std::vector<CommunicatorCase> cases = {
      {"AllGather", AllGather},
      {"ReduceScatter", ReduceScatter},
      {"ReduceScatterAddsInRankOrder", ReduceScatterAddsInRankOrder},
      {"Broadcast", Broadcast},
      {"Exchange", Exchange},
      {"Interleaving", Interleaving},
      {"HostAllGather", HostAllGather},
      {"Split", Split},
      {"Buffer", Buffer},
  };
  return cases;
}

}  // namespace blockstep
