#include "launcher/coordinator/call_status.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

// A port of this host that the kernel accepts connections for.
class Port {
 public:
  Port() : raw_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* any = reinterpret_cast<sockaddr*>(&at);
    EXPECT_EQ(bind(raw_, any, size), 0);
    EXPECT_EQ(listen(raw_, 8), 0);
    EXPECT_EQ(getsockname(raw_, any, &size), 0);
    address_ = Cat("127.0.0.1:", ntohs(at.sin_port));
  }
  Port(const Port&) = delete;
  ~Port() { close(raw_); }

  const std::string& address() const { return address_; }

  // Accepts one connection, sends `bytes` and ends it.
  void AnswerOnce(const std::string& bytes) const {
    const int peer = accept(raw_, nullptr, nullptr);
    EXPECT_EQ(send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    close(peer);
  }

 private:
  int raw_;
  std::string address_;
};

absl::Status Explained(const ChannelOptions& channel, const absl::Status& status) {
  const absl::Status why = ExplainCallFailure(channel, status);
  EXPECT_THAT(std::string(why.message()), testing::StartsWith("coordinator "));
  return why;
}

absl::Status ExplainedOf(const std::string& answer, const TlsIdentity& tls,
                         const absl::Status& status) {
  const Port port;
  std::thread server([&] { port.AnswerOnce(answer); });
  const absl::Status why = Explained({.address = port.address(), .tls = tls}, status);
  server.join();
  return why;
}

// Whatever the libraries below say: only what the port does counts.
const absl::Status kNoAnswer = absl::UnavailableError("coordinator x: any words");
const absl::Status kLate = absl::DeadlineExceededError("coordinator x: any words");
const TlsIdentity kTls = {.ca = "ca", .cert = "cert", .key = "key"};
const std::string kSettings("\0\0\0\4\0\0\0\0\0", 9);

TEST(CallStatus, APortThatNobodyServesIsAStoppedProcess) {
  const Port silent;
  for (const TlsIdentity& tls : {TlsIdentity{}, kTls}) {
    for (const absl::Status& status : {kNoAnswer, kLate}) {
      const absl::Status why = Explained({.address = silent.address(), .tls = tls}, status);
      EXPECT_EQ(why.code(), absl::StatusCode::kDeadlineExceeded) << why;
      EXPECT_THAT(std::string(why.message()), HasSubstr("is the process stopped?"));
    }
  }
}

TEST(CallStatus, APortThatAnswersOtherwiseDoesNotFitTheTlsSettings) {
  for (const std::string& answer : {std::string(), std::string("\x15\3\3\0\2\2\x28", 7)}) {
    const absl::Status plain = ExplainedOf(answer, {}, kNoAnswer);
    EXPECT_EQ(plain.code(), absl::StatusCode::kUnauthenticated) << plain;
    EXPECT_THAT(std::string(plain.message()), HasSubstr("does not speak plaintext"));
  }
  const absl::Status tls = ExplainedOf(kSettings, kTls, kNoAnswer);
  EXPECT_EQ(tls.code(), absl::StatusCode::kUnauthenticated) << tls;
  EXPECT_THAT(std::string(tls.message()), HasSubstr("TLS handshake failed"));
}

TEST(CallStatus, WhatTheConnectionDoesNotExplainIsKept) {
  EXPECT_EQ(ExplainedOf(kSettings, {}, kNoAnswer), kNoAnswer);
  EXPECT_EQ(ExplainedOf(kSettings, {}, kLate), kLate);
  EXPECT_EQ(ExplainedOf("", kTls, kLate), kLate);
  const absl::Status other = absl::NotFoundError("coordinator x: no such run");
  EXPECT_EQ(Explained({.address = "127.0.0.1:1"}, other), other);
}

TEST(CallStatus, NobodyListens) {
  std::string address;
  {
    const Port gone;
    address = gone.address();
  }
  const absl::Status why = Explained({.address = address}, kNoAnswer);
  EXPECT_EQ(why.code(), absl::StatusCode::kUnavailable) << why;
  EXPECT_THAT(std::string(why.message()), HasSubstr("cannot connect: Connection refused"));
}

}  // namespace
}  // namespace blockstep
