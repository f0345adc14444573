#include "launcher/coordinator/grpc_log.h"

#include <grpc/support/log.h>

#include <cstdlib>
#include <utility>

namespace blockstep {
namespace {

std::function<void(const std::string&)>& Taker() {
  static auto* taker = new std::function<void(const std::string&)>;  // gRPC's threads outlive main
  return *taker;
}

void Forward(gpr_log_func_args* args) {
  if (Taker()) Taker()(args->message);
}

}  // namespace

void TakeGrpcLog(std::function<void(const std::string& line)> take) {
  const bool asked =
      std::getenv("GRPC_VERBOSITY") != nullptr || std::getenv("GRPC_TRACE") != nullptr;
  if (asked) Taker() = std::move(take);
  gpr_set_log_function(Forward);
}

}  // namespace blockstep
