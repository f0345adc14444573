// Calls of operators to a coordinator: no rank, no membership, one call each with a deadline.
#pragma once

#include "launcher/coordinator/channel.h"
#include "proto/coordinator.pb.h"

namespace blockstep {

inline constexpr double kOperatorCallS = 5;

// UNAVAILABLE, DEADLINE_EXCEEDED or UNAUTHENTICATED: nobody answers there, or not with these
// certificates.
absl::StatusOr<proto::StatusReply> AskStatus(const ChannelOptions& channel);
// The ranks save at the end of a step, and leave or go on. `run_id` empty: whichever runs.
absl::Status OrderStop(const ChannelOptions& channel, const std::string& run_id);
absl::Status OrderSave(const ChannelOptions& channel, const std::string& run_id);

}  // namespace blockstep
