#include "dist/grid.h"

#include <vector>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {

CommBytes Grid::bytes_sent() const {
  CommBytes bytes = world.bytes_sent();
  if (across == nullptr) return bytes;
  bytes += inside.bytes_sent();
  return bytes += across->bytes_sent();
}

absl::StatusOr<std::unique_ptr<GridParts>> GridParts::Split(const RankGroup& world,
                                                            int group_size) {
  CHECK_GT(group_size, 0);
  CHECK_EQ(world.size() % group_size, 0);
  auto parts = std::make_unique<GridParts>();
  parts->grid_ = Grid::OneGroup(world);
  if (group_size == world.size()) return parts;
  std::vector<int> groups, shards;
  for (int r = 0; r < world.size(); ++r) {
    groups.push_back(r / group_size);
    shards.push_back(r % group_size);
  }
  ASSIGN_OR_RETURN(parts->control_, world.control->Split(groups));
  ASSIGN_OR_RETURN(parts->data_, world.data->Split(groups));
  ASSIGN_OR_RETURN(parts->across_, world.data->Split(shards));
  parts->grid_.inside = {.control = parts->control_.get(), .data = parts->data_.get()};
  parts->grid_.across = parts->across_.get();
  return parts;
}

}  // namespace blockstep
