// What a configuration says about its coordinator, embedded in rank 0 or a process of its own.
#pragma once

#include "launcher/config/train_config.h"
#include "launcher/coordinator/coordinator_server.h"

namespace blockstep {

std::string HostName();

// A policy of the configuration, fresh at each call.
absl::StatusOr<PolicyFactory> PolicyFactoryOf(const TrainConfig& config, const TensorTable& table);

// Address, TLS, run and log are the caller's to fill. The token of an HTTP endpoint that others
// reach is in the environment, BLOCKSTEP_HTTP_TOKEN.
absl::StatusOr<CoordinatorServerOptions> ServerOptionsOf(const TrainConfig& config,
                                                         const LlamaConfig& model);

}  // namespace blockstep
