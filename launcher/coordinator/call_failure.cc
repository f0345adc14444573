#include "launcher/coordinator/call_failure.h"

#include "core/base/status.h"
#include "launcher/coordinator/tcp_probe.h"

namespace blockstep {

absl::Status ExplainCallFailure(const ChannelOptions& channel, const absl::Status& status) {
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
  const std::string where = Cat("coordinator ", channel.address);
  const auto says = [&](std::string_view text) {
    return Std(status.message()).find(text) != std::string_view::npos;
  };
  // Of a connection that a stopped process's system took for it.
  const bool silent = absl::IsDeadlineExceeded(status) || says("timed out before receiving") ||
                      says("Handshake read failed");
  if (const absl::Status port = TcpProbe(channel.address, 1.0); !port.ok()) {
    return Unavailable(where, ": ", port.message(), "; is the run over, or its host down?");
  }
  if (silent) {
    return DeadlineExceeded(where,
                            ": something listens there, but does not answer; is it stopped?");
  }
  if (channel.tls.empty()) {
    return absl::UnauthenticatedError(
        Cat(where,
            ": something listens there, but not in plaintext; pass --tls with the certificates of "
            "its authority, or another address"));
  }
  return absl::UnauthenticatedError(
      Cat(where,
          ": something listens there, but refused TLS; expected certificates of one authority on "
          "both sides, valid today, and a server's for ",
          channel.tls_name.empty() ? "that host" : channel.tls_name));
}

}  // namespace blockstep
