#include "launcher/run/coordinator_options.h"

#include <unistd.h>

#include <cstdlib>

#include "core/base/status.h"
#include "launcher/cli/build_identity.h"
#include "model/llama_config.h"
#include "optim/policy/shifted.h"

namespace blockstep {

std::string HostName() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

absl::StatusOr<PolicyFactory> PolicyFactoryOf(const TrainConfig& config, const TensorTable& table) {
  ASSIGN_OR_RETURN(const PolicyConfig policy, ResolvePolicy(config, table));
  return PolicyFactory([policy, table] { return MakeShiftedPolicy(policy, table); });
}

absl::StatusOr<CoordinatorServerOptions> ServerOptionsOf(const TrainConfig& config,
                                                         const LlamaConfig& model) {
  CoordinatorServerOptions options;
  options.keepalive_s = config.coordinator.keepalive_s;
  options.http_address = config.coordinator.http_address;
  if (const char* token = std::getenv("BLOCKSTEP_HTTP_TOKEN")) options.http_token = token;
  options.run.decisions.build = BuildIdentity();
  options.run.decisions.config_hash = ConfigHash(config, model);
  options.run.total_steps = config.train.steps;
  options.run.lease_ms = static_cast<int64_t>(config.coordinator.lease_s * 1000);
  ASSIGN_OR_RETURN(options.run.decisions.make_policy, PolicyFactoryOf(config, LlamaTensors(model)));
  return options;
}

}  // namespace blockstep
