#include "launcher/coordinator/contact.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/status.h"
#include "core/io/file_ops.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;

std::string PathIn(const std::string& folder) { return folder + "/coordinator.json"; }
bool IsPem(const std::string& text) { return text.rfind("-----BEGIN ", 0) == 0; }

}  // namespace

std::string ContactText(const Contact& c) {
  return nlohmann::ordered_json{{"address", c.address}, {"host", c.host}, {"tls_name", c.tls_name},
                                {"ca", c.ca},           {"cert", c.cert}, {"key", c.key}}
             .dump(2) +
         "\n";
}

absl::StatusOr<Contact> ParseContact(const std::string& text, const std::string& where) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  Contact contact;
  for (const auto& [name, field] :
       {std::pair<const char*, std::string*>{"address", &contact.address},
        {"host", &contact.host},
        {"tls_name", &contact.tls_name},
        {"ca", &contact.ca},
        {"cert", &contact.cert},
        {"key", &contact.key}}) {
    if (!json.is_object() || !json.contains(name) || !json[name].is_string()) {
      return DataLoss(where, ": expected a coordinator's contact, got no text `", name, "`");
    }
    *field = json[name].get<std::string>();
  }
  return contact;
}

absl::Status WriteContact(const std::string& folder, const Contact& contact) {
  return FileOps().ReplaceSmall(PathIn(folder), ContactText(contact), FileMode::kPrivate);
}

absl::StatusOr<Contact> ReadContact(const std::string& folder) {
  const std::string path = PathIn(folder);
  if (!fs::exists(path)) {
    return NotFound(path, ": does not exist; expected the folder of a running run or coordinator");
  }
  ASSIGN_OR_RETURN(const std::string text, ReadSmall(path));
  return ParseContact(text, path);
}

void RemoveContact(const std::string& folder) {
  std::error_code ignored;
  fs::remove(PathIn(folder), ignored);
}

absl::StatusOr<ChannelOptions> ChannelOf(const Contact& contact) {
  ChannelOptions channel{.address = contact.address, .tls_name = contact.tls_name};
  if (contact.ca.empty()) return channel;
  if (IsPem(contact.ca)) {
    channel.tls = {contact.ca, contact.cert, contact.key};
    return channel;
  }
  ASSIGN_OR_RETURN(channel.tls, ReadTlsFiles(contact.ca, contact.cert, contact.key));
  return channel;
}

TlsFolder ServerFiles(const std::string& folder) {
  return {folder + "/ca.pem", folder + "/server.pem", folder + "/server-key.pem"};
}

TlsFolder ClientFiles(const std::string& folder) {
  return {folder + "/ca.pem", folder + "/client.pem", folder + "/client-key.pem"};
}

}  // namespace blockstep
