// Calls and bytes as no client of ours would send them.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "launcher/coordinator/channel.h"

namespace blockstep {

struct RawReply {
  grpc::Status status;
  std::string bytes;
};

// One message of any bytes to any method, over gRPC.
inline RawReply CallBytes(const ChannelOptions& channel, const std::string& method,
                          const std::string& bytes) {
  grpc::GenericStub stub(MakeChannel(channel));
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer reply;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  context.set_wait_for_ready(true);
  std::mutex mutex;
  std::condition_variable done;
  std::optional<grpc::Status> result;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &reply, [&](grpc::Status status) {
    std::lock_guard lock(mutex);
    result = std::move(status);
    done.notify_one();
  });
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return result.has_value(); });
  RawReply out{.status = *result};
  std::vector<grpc::Slice> slices;
  if (reply.Valid() && reply.Dump(&slices).ok()) {
    for (const grpc::Slice& s : slices)
      out.bytes.append(reinterpret_cast<const char*>(s.begin()), s.size());
  }
  return out;
}

// A connection to a port of this host that waits at most 10 s for anything.
inline int ConnectTo(int port) {
  const int raw = socket(AF_INET, SOCK_STREAM, 0);
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(raw, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(raw, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  return raw;
}

// Bytes to a port of this host; what comes back until the other side closes. A server that keeps
// such a connection is a failure.
inline std::string SendToPort(int port, const std::string& bytes) {
  const int raw = ConnectTo(port);
  EXPECT_GT(send(raw, bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
  std::string answer;
  char part[1024];
  ssize_t got = 0;
  while ((got = recv(raw, part, sizeof part, 0)) > 0) answer.append(part, static_cast<size_t>(got));
  EXPECT_TRUE(got == 0 || errno == ECONNRESET) << "the server keeps a connection of noise";
  close(raw);
  return answer;
}

}  // namespace blockstep
