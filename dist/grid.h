// Ranks as a grid of equal groups: rank g * n + s is shard s of group g. Weights are sharded and
// gathered inside a group; gradients are reduced inside it, then across groups, so every group
// holds the same weights and updates them alike. One group of all ranks is plain sharding.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "dist/communicator.h"

namespace blockstep {

struct Grid {
  RankGroup world;   // every rank
  RankGroup inside;  // those of this rank's group
  Communicator* across =
      nullptr;  // `data` between the groups' owners of this shard; null: one group

  static Grid OneGroup(const RankGroup& world) { return {.world = world, .inside = world}; }
  int group() const { return across == nullptr ? 0 : across->rank(); }
  // Owners of a shard hold equal rows: those of the first group are saved, hashed and counted.
  bool counts() const { return group() == 0; }
  friend bool operator==(const Grid&, const Grid&) = default;
  // Of all its communicators.
  CommBytes bytes_sent() const;
};

// The communicators of a grid's parts; those of `world` outlive it.
class GridParts {
 public:
  // Collective, host-blocking. `group_size` divides the number of ranks.
  static absl::StatusOr<std::unique_ptr<GridParts>> Split(const RankGroup& world, int group_size);
  const Grid& grid() const { return grid_; }

 private:
  Grid grid_;
  std::unique_ptr<Communicator> control_, data_, across_;
};

}  // namespace blockstep
