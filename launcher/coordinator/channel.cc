#include "launcher/coordinator/channel.h"

#include <sys/socket.h>

#include <algorithm>

#include "core/base/status.h"
#include "launcher/config/host_port.h"

namespace blockstep {
namespace {

int Milliseconds(double seconds) { return static_cast<int>(seconds * 1e3); }

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const ChannelOptions& o) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(kMaxMessageBytes);
  args.SetMaxSendMessageSize(kMaxMessageBytes);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(o.keepalive_s));
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(o.keepalive_s));
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A coordinator that comes back must be found at once; gRPC's own back-off grows to two minutes.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // Training traffic never goes through a web proxy.
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Every rank-thread has a connection of its own, as every process has.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (o.tls.empty()) {
    return grpc::CreateCustomChannel(o.address, grpc::InsecureChannelCredentials(), args);
  }
  if (!o.tls_name.empty()) args.SetSslTargetNameOverride(o.tls_name);
  return grpc::CreateCustomChannel(
      o.address,
      grpc::SslCredentials(
          {.pem_root_certs = o.tls.ca, .pem_private_key = o.tls.key, .pem_cert_chain = o.tls.cert}),
      args);
}

bool IsLoopback(const std::string& address) {
  if (address.rfind("unix:", 0) == 0) return true;
  const std::string host = address.substr(0, address.rfind(':'));
  return host == "localhost" || host == "[::1]" || host.rfind("127.", 0) == 0;
}

absl::Status CheckBind(const std::string& address, bool tls, bool insecure) {
  if (!IsHostPort(address)) {
    return InvalidArgument("coordinator address: expected ", kHostPort, ", got ", address);
  }
  if (tls || insecure || IsLoopback(address)) return absl::OkStatus();
  return InvalidArgument("coordinator address ", address,
                         ": expected TLS files (blockstep certs makes them) or --insecure, since "
                         "other hosts can reach it");
}

absl::StatusOr<Addresses> Resolve(const std::string& address, int flags) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo wanted = {.ai_flags = flags, .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &wanted, &found);
  if (error != 0) return absl::NotFoundError(gai_strerror(error));
  return Addresses(found);
}

void SetServerOptions(grpc::ServerBuilder* builder, double keepalive_s) {
  builder->SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder->SetMaxSendMessageSize(kMaxMessageBytes);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(keepalive_s));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(keepalive_s));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Else the server takes clients' keepalive for an attack and sends them away.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              std::min(500, Milliseconds(keepalive_s) / 2));
  // Two coordinators on one port would each get half of the ranks.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsIdentity& tls) {
  if (tls.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions o(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  o.pem_root_certs = tls.ca;
  o.pem_key_cert_pairs.push_back({tls.key, tls.cert});
  return grpc::SslServerCredentials(o);
}

}  // namespace blockstep
