// A certificate authority of one run and certificates under it (P-256, SHA-256): in memory for a
// coordinator embedded in rank 0, as files for `blockstep certs`.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace blockstep {

// What one side of mutual TLS needs, PEM.
struct TlsIdentity {
  std::string ca;  // who the other side must be signed by
  std::string cert;
  std::string key;
  bool empty() const { return ca.empty(); }
};

struct CertificateOptions {
  // Host names and IP addresses that clients will call the server by. kCoordinatorName, localhost,
  // 127.0.0.1 and ::1 are always among them.
  std::vector<std::string> server_names;
  int days = 365;
};

struct CertificateSet {
  std::string ca_cert, ca_key;
  TlsIdentity server, client;
};

// The name that a client may check instead of the address it dials (CoordinatorClientOptions).
inline constexpr char kCoordinatorName[] = "blockstep-coordinator";

absl::StatusOr<CertificateSet> MakeCertificates(const CertificateOptions& options);

// Reads the three PEM files; an error names the file. NOT_FOUND, or DATA_LOSS: not PEM, or the key
// is not the certificate's.
absl::StatusOr<TlsIdentity> ReadTlsFiles(const std::string& ca, const std::string& cert,
                                         const std::string& key);

}  // namespace blockstep
