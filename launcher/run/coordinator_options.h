// Coordinator options from the configuration, for an embedded or a separate coordinator.
#pragma once

#include "launcher/config/train_config.h"
#include "launcher/coordinator/coordinator_server.h"

namespace blockstep {

std::string HostName();

// Makes a new policy from the configuration at each call.
absl::StatusOr<PolicyFactory> PolicyFactoryOf(const TrainConfig& config, const TensorTable& table);

// Address, TLS, run and log are the caller's to fill. The token of an HTTP endpoint that others
// reach is in the environment, BLOCKSTEP_HTTP_TOKEN.
absl::StatusOr<CoordinatorServerOptions> ServerOptionsOf(const TrainConfig& config,
                                                         const LlamaConfig& model);

}  // namespace blockstep
