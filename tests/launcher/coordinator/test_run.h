// Options of a coordinator and its ranks over loopback.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/check.h"
#include "launcher/coordinator/coordinator_client.h"
#include "launcher/coordinator/coordinator_server.h"
#include "tests/launcher/coordinator/small_policy.h"

namespace blockstep {

inline CoordinatorServerOptions ServerOptions(const std::string& log = "") {
  CoordinatorServerOptions o;
  o.keepalive_s = 1;
  o.run.lease_ms = 1000;
  o.run.total_steps = 100;
  o.run.decisions = {.make_policy = [] { return std::make_unique<RisingLossPolicy>(1); },
                     .build = "build-1",
                     .config_hash = "hash-1",
                     .run_id = "run-1",
                     .log_path = log};
  return o;
}

inline CoordinatorClientOptions ClientOptions(const std::string& address, int rank, int world) {
  CoordinatorClientOptions o;
  o.channel = {.address = address, .keepalive_s = 1};
  o.run_id = "run-1";
  o.rank = rank;
  o.world = world;
  o.build = "build-1";
  o.config_hash = "hash-1";
  o.host = "here";
  o.grace_s = 10;
  o.call_s = 2;
  o.heartbeat_s = 0.05;
  o.duplicate_s = 0.5;
  return o;
}

}  // namespace blockstep
