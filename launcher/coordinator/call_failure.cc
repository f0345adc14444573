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
  // The kernel accepts connections for a stopped process.
  const bool silent = absl::IsDeadlineExceeded(status) || says("timed out before receiving") ||
                      says("Handshake read failed");
  if (const absl::Status port = TcpProbe(channel.address, 1.0); !port.ok()) {
    return Unavailable(where, ": ", port.message(), "; has the run ended, or is its host down?");
  }
  if (silent) {
    return DeadlineExceeded(
        where, ": accepted the connection but did not respond; is the process stopped?");
  }
  if (channel.tls.empty()) {
    return absl::UnauthenticatedError(Cat(
        where,
        ": accepted the connection but does not speak plaintext; pass --tls with certificates of "
        "its authority, or check the address"));
  }
  return absl::UnauthenticatedError(
      Cat(where,
          ": TLS handshake failed; expected unexpired certificates of one authority on both sides, "
          "and a server certificate for ",
          channel.tls_name.empty() ? "that host" : channel.tls_name));
}

}  // namespace blockstep
