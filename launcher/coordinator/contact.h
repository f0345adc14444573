// Where to reach a run's coordinator: `coordinator.json` in the run folder (written by rank 0) and
// in the coordinator's own folder. `blockstep status` and `stop` read it; only its owner may, since
// that of an embedded coordinator holds the key that lets a caller in.
#pragma once

#include <string>

#include "launcher/config/train_config.h"
#include "launcher/coordinator/channel.h"

namespace blockstep {

struct Contact {
  std::string address;        // host:port
  std::string host;           // that the coordinator runs on, for people; empty: not known
  std::string tls_name;       // that the server's certificate must hold; empty: the host
  std::string ca, cert, key;  // PEM, or paths of PEM files; all empty: plaintext
};

std::string ContactText(const Contact& contact);
absl::StatusOr<Contact> ParseContact(const std::string& text, const std::string& where);

// Replaces <folder>/coordinator.json.
absl::Status WriteContact(const std::string& folder, const Contact& contact);
// NOT_FOUND: no coordinator of this folder is running.
absl::StatusOr<Contact> ReadContact(const std::string& folder);
void RemoveContact(const std::string& folder);

// Reads the files that the contact names.
absl::StatusOr<ChannelOptions> ChannelOf(const Contact& contact);

// The files of a folder that `blockstep certs` made, in the form of --set.
struct TlsFolder {
  std::string ca, cert, key;
};
TlsFolder ServerFiles(const std::string& folder);
TlsFolder ClientFiles(const std::string& folder);

}  // namespace blockstep
