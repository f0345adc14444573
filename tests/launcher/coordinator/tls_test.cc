#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/launcher/coordinator/test_run.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

CertificateSet Certificates(const std::vector<std::string>& names = {}) {
  auto set = MakeCertificates({.server_names = names});
  CHECK_OK(set);
  return *set;
}

class Tls : public testing::Test {
 protected:
  void SetUp() override {
    CoordinatorServerOptions options = ServerOptions();
    options.address = "0.0.0.0:0";
    options.tls = set_.server;
    auto server = CoordinatorServer::Start(options);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
  }
  absl::Status Join(const TlsIdentity& tls, const std::string& name = "") {
    CoordinatorClientOptions options = ClientOptions(Cat("127.0.0.1:", server_->port()), 0, 1);
    options.channel.tls = tls;
    options.channel.tls_name = name;
    options.grace_s = 20;  // a mistake in TLS shows after two seconds of it
    auto client = CoordinatorClient::Connect(options);
    if (!client.ok()) return client.status();
    return (*client)->Await(0).status();
  }
  CertificateSet set_ = Certificates({"trainer-7.example", "10.1.2.3"});
  std::unique_ptr<CoordinatorServer> server_;
};

TEST_F(Tls, RanksWithTheRunsCertificateJoin) {
  EXPECT_TRUE(Join(set_.client).ok());
  EXPECT_TRUE(Join(set_.client, kCoordinatorName).ok());
  EXPECT_TRUE(Join(set_.client, "trainer-7.example").ok());
}

TEST_F(Tls, OthersDoNot) {
  const CertificateSet rogue = Certificates();
  // Signed by another authority; a right one that trusts another server; plaintext; no certificate.
  TlsIdentity wrong_ca = rogue.client;
  wrong_ca.ca = set_.client.ca;
  EXPECT_EQ(Join(wrong_ca).code(), absl::StatusCode::kUnauthenticated);
  TlsIdentity trusts_other = set_.client;
  trusts_other.ca = rogue.client.ca;
  EXPECT_EQ(Join(trusts_other).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(Join({}).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(Join({.ca = set_.client.ca}).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(Join(set_.client, "other.example").code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(server_->state().Status().ranks_size(), 0);
  EXPECT_TRUE(Join(set_.client).ok());
}

TEST(Certificates, NamesAndFilesAreChecked) {
  EXPECT_THAT(std::string(MakeCertificates({.server_names = {"a,DNS:b"}}).status().message()),
              HasSubstr("got 'a,DNS:b'"));
  const std::string folder = testing::TempDir();
  const CertificateSet set = Certificates();
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder + "/" + name) << text;
    return folder + "/" + name;
  };
  const std::string ca = write("blockstep_ca.pem", set.ca_cert);
  const std::string cert = write("blockstep_cert.pem", set.client.cert);
  const std::string key = write("blockstep_key.pem", set.client.key);
  const auto read = ReadTlsFiles(ca, cert, key);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->key, set.client.key);
  EXPECT_THAT(std::string(ReadTlsFiles(ca, cert, key + "x").status().message()),
              HasSubstr("blockstep_key.pemx"));
  EXPECT_EQ(ReadTlsFiles(ca, cert, write("blockstep_no.pem", "text")).status().code(),
            absl::StatusCode::kDataLoss);
  const std::string cut = set.client.key.substr(0, set.client.key.size() / 2);
  EXPECT_THAT(
      std::string(ReadTlsFiles(ca, cert, write("blockstep_cut.pem", cut)).status().message()),
      HasSubstr("blockstep_cut.pem: expected an unencrypted private key"));
  EXPECT_THAT(
      std::string(
          ReadTlsFiles(ca, cert, write("blockstep_other.pem", set.server.key)).status().message()),
      HasSubstr("blockstep_other.pem: expected the key of"));
}

}  // namespace
}  // namespace blockstep
