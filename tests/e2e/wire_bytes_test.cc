// Bytes on the wire of whole runs: what every rank's communicator has sent equals the
// formulas of docs/collectives.md to the byte, call kind by call kind; summed over ranks it is the
// formula as printed there.
#include <gtest/gtest.h>

#include <iostream>
#include <set>

#include "core/base/str.h"
#include "launcher/train/engine/step_exchange.h"
#include "model/llama_tensors.h"
#include "tests/e2e/engine_harness.h"
#include "tests/e2e/oracle.h"
#include "tests/sanitized.h"

namespace blockstep::testing {
namespace {

constexpr int64_t kTokens = 8;  // how many targets of its batch count
constexpr int64_t kWord = 72;   // a rank's word of the small exchange
constexpr int64_t kNorm = 24;   // and a norm beside it
constexpr int64_t kHeld = 16;   // what it holds for the first step: hash and code
static_assert(sizeof(RankWord) == kWord && sizeof(ExactSum) == kNorm);

class Wire {
 public:
  Wire(const RunSpec& spec, const std::vector<ActiveSet>& sets)
      : spec_(spec), sets_(sets), table_(LlamaTensors(TinyLlama(spec.tied))) {
    pinned_ = spec.pinned;
    pinned_.resize(table_.units.size(), 0);
  }

  int64_t MicroSteps() const { return Up(Up(spec_.slots, spec_.ranks), spec_.micro_slots); }

  // Ranks that weights are sharded over, this rank's place among them, and groups of these.
  int Shards() const { return spec_.group_size > 0 ? spec_.group_size : spec_.ranks; }
  int Shard(int rank) const { return rank % Shards(); }
  int Groups() const { return spec_.ranks / Shards(); }

  CommBytes Sent(int rank) const {
    CommBytes sent;
    if (spec_.ranks == 1) return sent;
    const int64_t others = spec_.ranks - 1, inside = Shards() - 1;
    sent.all_gather = others * kHeld;  // once: every rank holds the same script
    for (int64_t step = 0; step < spec_.steps; ++step) {
      const ActiveSet& set = sets_[step];
      const auto entries = static_cast<int64_t>(set.entries.size());
      sent.all_gather += others * SmallBytes(entries) + inside * CountBytes();
      for (int64_t m = 0; m < MicroSteps(); ++m) {
        sent.all_gather += inside * 4 * Gathered(set, rank);
        if (!pinned_[0]) sent.exchange += RowBytes(step, m, rank) + ListBytes(step, m, rank);
      }
      int64_t foreign = 0, owned = 0;
      for (const ActiveEntry& e : set.entries) {
        const int64_t own = OwnElements(table_, e, Shards(), Shard(rank));
        foreign += 4 * (Elements(table_, e) - own);
        owned += 4 * own;
        if (e.role == Role::kTrain && pinned_[table_.tensors[e.tensor].unit]) {
          sent.all_gather += inside * 4 * own;  // published
        }
        if (spec_.numerics == Numerics::kFast) AddAcross(own, rank / Shards(), sent);
      }
      if (spec_.numerics == Numerics::kSlotExact) {
        const Range mine = SlotsOfRank(spec_.slots, spec_.ranks, rank);
        sent.exchange += foreign * TreeNodes(spec_.slots, mine.begin, mine.end);
        const int first = rank / Shards() * Shards();
        const int64_t begin = SlotsOfRank(spec_.slots, spec_.ranks, first).begin;
        const int64_t end = SlotsOfRank(spec_.slots, spec_.ranks, first + Shards() - 1).end;
        sent.exchange += (Groups() - 1) * owned * TreeNodes(spec_.slots, begin, end);
      } else {
        const bool sharded = spec_.accumulation == GradAccumulation::kSharded;
        sent.reduce_scatter += foreign * (sharded ? MicroSteps() : 1);
      }
    }
    return sent;
  }

  // The same for the whole group and run, without what is counted apart: rows of the embedding and
  // the small exchange. (N-1)/N * [...] per rank, so (N-1) * [...] for all of them.
  int64_t Printed() const {
    int64_t sum = 0;
    for (int64_t step = 0; step < spec_.steps; ++step) {
      const ActiveSet& set = sets_[step];
      int64_t weights = 0, active = 0, active_pinned = 0;  // F + B, A, A_pinned
      for (int t = 0; t < static_cast<int>(table_.tensors.size()); ++t) {
        weights += table_.tensors[t].size() * Passes(set, t);
      }
      for (const ActiveEntry& e : set.entries) {
        const bool pinned = pinned_[table_.tensors[e.tensor].unit];
        active += Elements(table_, e);
        if (pinned && e.role == Role::kTrain) active_pinned += Elements(table_, e);
      }
      const bool sharded = spec_.accumulation == GradAccumulation::kSharded;
      sum += MicroSteps() * 4 * weights + 4 * active * (sharded ? MicroSteps() : 1) +
             4 * active_pinned;
    }
    return (spec_.ranks - 1) * sum;
  }
  int64_t Small(int rank) const {
    int64_t sum = kHeld * (spec_.ranks - 1);
    for (int64_t step = 0; step < spec_.steps; ++step) {
      const auto entries = static_cast<int64_t>(sets_[step].entries.size());
      sum += (spec_.ranks - 1) * (SmallBytes(entries) + CountBytes());
      for (int64_t m = 0; m < MicroSteps(); ++m) {
        if (!pinned_[0]) sum += RowBytes(step, m, rank) + ListBytes(step, m, rank);
      }
    }
    return sum;
  }

 private:
  // How often a micro-step gathers `tensor`: once forward, a decoder layer once more if backward
  // reads weights of it, that is if anything learns below its last product's dW. The head's weights
  // are there once for both; the embedding is fetched by rows, but whole where it is the head too.
  int64_t Passes(const ActiveSet& set, int tensor) const {
    const TensorInfo& t = table_.tensors[tensor];
    if (pinned_[t.unit]) return 0;
    if (table_.units[t.unit].kind == UnitKind::kEmbedding) return table_.tied ? 1 : 0;
    if (table_.units[t.unit].kind == UnitKind::kHead) return 1;
    for (const ActiveEntry& e : set.entries) {
      const TensorInfo& active = table_.tensors[e.tensor];
      if (active.unit > t.unit) continue;
      const bool down = active.name.find("down_proj") != std::string::npos;
      if (active.unit < t.unit || !down || spec_.recompute == Recompute::kLayer) return 2;
    }
    return 1;
  }
  int64_t Gathered(const ActiveSet& set, int rank) const {
    int64_t own = 0;
    for (int t = 0; t < static_cast<int>(table_.tensors.size()); ++t) {
      const TensorInfo& tensor = table_.tensors[t];
      own += Passes(set, t) * OwnElements(tensor, {0, tensor.rows}, Shards(), Shard(rank));
    }
    return own;
  }

  // Norms travel once more where Adam's are measured.
  int64_t SmallBytes(int64_t entries) const {
    return kTokens + kWord + kNorm * entries * (spec_.measure_adam ? 2 : 1);
  }

  // The owners of equal rows add these up: each a part of them, which it then shares.
  void AddAcross(int64_t own, int group, CommBytes& sent) const {
    const int64_t part = own * (group + 1) / Groups() - own * group / Groups();
    sent.reduce_scatter += 4 * (own - part);
    sent.all_gather += 4 * (Groups() - 1) * part;
  }

  // How many rows each rank wants of each, per micro-step, and whether it could tell.
  int64_t CountBytes() const {
    return pinned_[0] || Shards() == 1 ? 0 : 4 * (MicroSteps() * Shards() + 1);
  }
  // The distinct tokens of a rank's slots in micro-step m, and how many of them `owner` has.
  int64_t Wanted(int64_t step, int64_t m, int rank, int owner) const {
    const TensorInfo& t = table_.tensors[0];
    const Range slots = SlotsOfRank(spec_.slots, spec_.ranks, rank);
    std::set<int64_t> ids;
    for (int64_t s = slots.begin + m * spec_.micro_slots;
         s < std::min(slots.begin + (m + 1) * spec_.micro_slots, slots.end); ++s) {
      for (int64_t i = 0; i < spec_.tokens; ++i) {
        ids.insert(TokenAt(step * spec_.slots + s, i, t.rows));
      }
    }
    int64_t rows = 0;
    for (const int64_t id : ids) {
      rows += OwnElements(t, {id, id + 1}, Shards(), Shard(owner)) > 0 ? 1 : 0;
    }
    return rows;
  }
  // Ids of rows that `rank` asks the others for.
  int64_t ListBytes(int64_t step, int64_t m, int rank) const {
    int64_t ids = 0;
    const int first = rank / Shards() * Shards();
    for (int r = first; r < first + Shards(); ++r) ids += r == rank ? 0 : Wanted(step, m, rank, r);
    return 4 * ids;
  }
  // Rows of the embedding that `rank` sends to the others for micro-step m.
  int64_t RowBytes(int64_t step, int64_t m, int rank) const {
    int64_t rows = 0;
    const int first = rank / Shards() * Shards();
    for (int r = first; r < first + Shards(); ++r) rows += r == rank ? 0 : Wanted(step, m, r, rank);
    return 4 * table_.tensors[0].cols * rows;
  }

  const RunSpec& spec_;
  const std::vector<ActiveSet>& sets_;
  const TensorTable table_;
  std::vector<char> pinned_;
};

struct WireCase {
  const char* name;
  Numerics numerics = Numerics::kFast;
  GradAccumulation accumulation = GradAccumulation::kLocal;
  int64_t slots = 9, micro_slots = 2;
  Recompute recompute = Recompute::kNone;
  bool measure_adam = false;
  bool tied = false;
  int groups = 1;
};
const WireCase kCases[] = {
    {.name = "local"},
    {.name = "local, tied, recompute", .recompute = Recompute::kLayer, .tied = true},
    {.name = "sharded", .accumulation = GradAccumulation::kSharded},
    {.name = "slot_exact", .numerics = Numerics::kSlotExact, .slots = 7, .micro_slots = 1},
    {.name = "slot_exact, tied, Adam norms",
     .numerics = Numerics::kSlotExact,
     .slots = 8,
     .micro_slots = 1,
     .measure_adam = true,
     .tied = true},
    {.name = "local, two groups", .groups = 2},
    {.name = "sharded, two groups", .accumulation = GradAccumulation::kSharded, .groups = 2},
    {.name = "slot_exact, two groups",
     .numerics = Numerics::kSlotExact,
     .slots = 11,
     .micro_slots = 1,
     .groups = 2},
};
// Nothing, everything, the units above the embedding and the first layer, the embedding alone.
const std::vector<char> kPins[] = {{}, {1, 1, 1, 1}, {0, 0, 1, 1}, {1, 0, 0, 0}};

void PrintTo(const WireCase& c, std::ostream* out) { *out << c.name; }

class WireBytes : public ::testing::TestWithParam<WireCase> {};

TEST_P(WireBytes, OfWholeRunsEqualTheFormula) {
  const WireCase& c = GetParam();
  const TensorTable table = LlamaTensors(TinyLlama(c.tied));
  std::vector<ActiveSet> sets = EightSets(table);
  for (int t = 0; t < static_cast<int>(table.tensors.size()); ++t) {
    // Backward of its layer reads no weights: dW alone.
    if (table.tensors[t].name == "model.layers.1.mlp.down_proj.weight") {
      sets.push_back({{WholeTensor(table, t)}});
    }
  }
  ASSERT_EQ(sets.size(), 9u);
  sets.emplace_back();  // and everything
  for (int t = 0; t < static_cast<int>(table.tensors.size()); ++t) {
    sets.back().entries.push_back(WholeTensor(table, t));
  }
  int64_t checked = 0;
  for (int ranks = kSanitized ? 3 : 1; ranks <= (kSanitized ? 3 : 4); ++ranks) {
    if (c.groups > 1 && ranks % c.groups != 0) continue;
    for (const std::vector<char>& pins : kPins) {
      RunSpec spec{.ranks = ranks,
                   .pinned = pins,
                   .policy = {.name = "scripted"},
                   .steps = static_cast<int64_t>(sets.size()),
                   .slots = c.slots,
                   .micro_slots = c.micro_slots,
                   .tokens = 8,
                   .numerics = c.numerics,
                   .accumulation = c.accumulation,
                   .recompute = c.recompute,
                   .measure_adam = c.measure_adam,
                   .tied = c.tied};
      if (c.groups > 1) spec.group_size = ranks / c.groups;
      for (const ActiveSet& set : sets) spec.policy.script.push_back({set, 1});
      const RunOutcome run = RunTraining(spec);
      const Wire wire(spec, sets);
      int64_t sum = 0, small = 0;
      for (int r = 0; r < ranks; ++r) {
        SCOPED_TRACE(Cat(c.name, ", rank ", r, " of ", ranks, ", ", pins.size(), " pins"));
        const CommBytes want = wire.Sent(r), found = run.bytes[r];
        EXPECT_EQ(found.all_gather, want.all_gather);
        EXPECT_EQ(found.reduce_scatter, want.reduce_scatter);
        EXPECT_EQ(found.exchange, want.exchange);
        EXPECT_EQ(found.broadcast, 0);
        sum += found.total();
        small += wire.Small(r);
        checked += found.total();
      }
      if (c.numerics == Numerics::kFast && ranks > 1 && c.groups == 1) {
        EXPECT_EQ(sum - small, wire.Printed());
      }
    }
  }
  std::cout << c.name << ": " << checked << " bytes accounted for\n";
}

INSTANTIATE_TEST_SUITE_P(Cases, WireBytes, ::testing::ValuesIn(kCases));

}  // namespace
}  // namespace blockstep::testing
