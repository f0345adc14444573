#include "launcher/coordinator/certs.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <memory>

#include "core/base/status.h"
#include "core/io/file_ops.h"

namespace blockstep {
namespace {

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* p) const {
    kFree(p);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Cert = std::unique_ptr<X509, Free<X509_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;

absl::Status Failed(std::string_view doing) {
  char text[256] = "no reason given";
  if (const unsigned long error = ERR_get_error()) ERR_error_string_n(error, text, sizeof(text));
  return Internal("certificates: cannot ", doing, ": ", text);
}

bool Extend(X509* cert, X509V3_CTX* context, int nid, const std::string& value) {
  Extension extension(X509V3_EXT_conf_nid(nullptr, context, nid, value.c_str()));
  return extension && X509_add_ext(cert, extension.get(), -1) == 1;
}

struct Subject {
  std::string name;
  std::string alternatives;  // "DNS:localhost,IP:127.0.0.1"; empty: none
  bool authority = false;
};

// A certificate over `key`, signed by `issuer_key` (its own, if there is no issuer).
absl::StatusOr<Cert> Sign(const Subject& subject, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                          int days) {
  Cert cert(X509_new());
  uint64_t serial = 0;
  X509_NAME* name = cert ? X509_get_subject_name(cert.get()) : nullptr;
  if (name == nullptr ||
      RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)) != 1 ||
      X509_set_version(cert.get(), 2) != 1 ||  // v3
      ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert.get()), serial >> 1) != 1 ||
      // A day back: clocks of hosts differ.
      X509_gmtime_adj(X509_getm_notBefore(cert.get()), -86400) == nullptr ||
      X509_time_adj_ex(X509_getm_notAfter(cert.get()), days, 0, nullptr) == nullptr ||
      X509_set_pubkey(cert.get(), key) != 1 ||
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                 reinterpret_cast<const unsigned char*>(subject.name.c_str()), -1,
                                 -1, 0) != 1) {
    return Failed("fill the certificate of " + subject.name);
  }
  X509* signer = issuer != nullptr ? issuer : cert.get();
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, signer, cert.get(), nullptr, nullptr, 0);
  bool fine =
      X509_set_issuer_name(cert.get(), X509_get_subject_name(signer)) == 1 &&
      Extend(cert.get(), &context, NID_basic_constraints,
             subject.authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
      Extend(cert.get(), &context, NID_key_usage,
             subject.authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
      Extend(cert.get(), &context, NID_subject_key_identifier, "hash");
  if (fine && !subject.authority) {
    fine = Extend(cert.get(), &context, NID_ext_key_usage, "serverAuth,clientAuth");
  }
  if (fine && !subject.alternatives.empty()) {
    fine = Extend(cert.get(), &context, NID_subject_alt_name, subject.alternatives);
  }
  if (!fine || X509_sign(cert.get(), issuer_key, EVP_sha256()) == 0) {
    return Failed("sign the certificate of " + subject.name);
  }
  return cert;
}

template <typename Write>
std::string Pem(Write write) {
  Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || write(bio.get()) != 1) return "";
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}
std::string PemOf(X509* cert) {
  return Pem([&](BIO* bio) { return PEM_write_bio_X509(bio, cert); });
}
std::string PemOf(EVP_PKEY* key) {
  return Pem([&](BIO* bio) {
    return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

// Null: the text holds none. An encrypted key is none either: nobody is there to type a password.
Cert CertOf(const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return Cert(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}
Key KeyOf(const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const auto no_password = [](char*, int, int, void*) { return -1; };
  return Key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
}

absl::StatusOr<std::string> Alternatives(const std::vector<std::string>& names) {
  std::string text = Cat("DNS:", kCoordinatorName, ",DNS:localhost,IP:127.0.0.1,IP:::1");
  for (const std::string& name : names) {
    unsigned char address[16];
    const bool ip = inet_pton(AF_INET, name.c_str(), address) == 1 ||
                    inet_pton(AF_INET6, name.c_str(), address) == 1;
    // The list has a syntax of its own: a name must not add to it.
    if (name.empty() || name.find_first_of(",;= \t\r\n") != std::string::npos ||
        (!ip && name.find(':') != std::string::npos)) {
      return InvalidArgument("certificates: expected a host name or IP address, got '", name, "'");
    }
    text += Cat(ip ? ",IP:" : ",DNS:", name);
  }
  return text;
}

absl::StatusOr<std::string> ReadPem(const std::string& path) {
  constexpr int64_t kMost = 1 << 20;
  absl::StatusOr<std::string> text = ReadSmall(path, kMost);
  if (!text.ok()) return Annotate(text.status(), "TLS file");
  if (text->find("-----BEGIN ") == std::string::npos) {
    return DataLoss("TLS file ", path, ": expected PEM, got no -----BEGIN line");
  }
  return text;
}

}  // namespace

absl::StatusOr<CertificateSet> MakeCertificates(const CertificateOptions& options) {
  ASSIGN_OR_RETURN(const std::string alternatives, Alternatives(options.server_names));
  Key ca_key(EVP_EC_gen("P-256")), server_key(EVP_EC_gen("P-256")), client_key(EVP_EC_gen("P-256"));
  if (!ca_key || !server_key || !client_key) return Failed("make a P-256 key");
  ASSIGN_OR_RETURN(const Cert ca, Sign({.name = "blockstep CA", .authority = true}, ca_key.get(),
                                       nullptr, ca_key.get(), options.days));
  ASSIGN_OR_RETURN(const Cert server, Sign({.name = kCoordinatorName, .alternatives = alternatives},
                                           server_key.get(), ca.get(), ca_key.get(), options.days));
  ASSIGN_OR_RETURN(const Cert client,
                   Sign({.name = "blockstep-worker", .alternatives = "DNS:blockstep-worker"},
                        client_key.get(), ca.get(), ca_key.get(), options.days));
  CertificateSet set{.ca_cert = PemOf(ca.get()), .ca_key = PemOf(ca_key.get())};
  set.server = {set.ca_cert, PemOf(server.get()), PemOf(server_key.get())};
  set.client = {set.ca_cert, PemOf(client.get()), PemOf(client_key.get())};
  return set;
}

absl::StatusOr<TlsIdentity> ReadTlsFiles(const std::string& ca, const std::string& cert,
                                         const std::string& key) {
  TlsIdentity identity;
  ASSIGN_OR_RETURN(identity.ca, ReadPem(ca));
  ASSIGN_OR_RETURN(identity.cert, ReadPem(cert));
  ASSIGN_OR_RETURN(identity.key, ReadPem(key));
  // gRPC takes what it cannot use for an address that nobody answers at.
  if (CertOf(identity.ca) == nullptr) {
    return DataLoss("TLS file ", ca, ": expected an authority's certificate as PEM, got none");
  }
  const Cert ours = CertOf(identity.cert);
  if (ours == nullptr) {
    return DataLoss("TLS file ", cert, ": expected a certificate as PEM, got none");
  }
  const Key secret = KeyOf(identity.key);
  if (secret == nullptr) {
    return DataLoss("TLS file ", key, ": expected an unencrypted private key as PEM, got none");
  }
  if (X509_check_private_key(ours.get(), secret.get()) != 1) {
    return DataLoss("TLS file ", key, ": expected the key of ", cert, ", got another");
  }
  return identity;
}

}  // namespace blockstep
