// What every Communicator must do, as functions of one rank's communicator: run on all ranks at
// once. Inputs are small integers, so sums are exact in any order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dist/communicator.h"

namespace blockstep {

struct CommunicatorCase {
  std::string name;
  std::function<void(Communicator&)> body;
};
const std::vector<CommunicatorCase>& CommunicatorSuite();

}  // namespace blockstep
