#include <cstdio>
#include <filesystem>

#include "core/base/status.h"
#include "core/io/file_ops.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/flags.h"
#include "launcher/commands/command.h"
#include "launcher/coordinator/contact.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;

absl::Status WriteCertificates(const std::string& folder, const CertificateOptions& options) {
  ASSIGN_OR_RETURN(const CertificateSet set, MakeCertificates(options));
  const TlsFolder server = ServerFiles(folder), client = ClientFiles(folder);
  const std::pair<std::string, std::string> files[] = {
      {folder + "/ca-key.pem", set.ca_key}, {server.ca, set.ca_cert},
      {server.cert, set.server.cert},       {server.key, set.server.key},
      {client.cert, set.client.cert},       {client.key, set.client.key}};
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return FileError("create", folder, error.value());
  for (const auto& [path, text] : files) {
    if (fs::exists(path)) {
      return absl::AlreadyExistsError(Cat(
          path, ": exists and is not overwritten, since runs may trust it; choose another folder"));
    }
  }
  for (const auto& [path, text] : files) {
    RETURN_IF_ERROR(FileOps().ReplaceSmall(path, text, FileMode::kPrivate));
  }
  return absl::OkStatus();
}

}  // namespace

int CertsCommand(int argc, char** argv) {
  std::string folder;
  CertificateOptions options;
  CLI::App app{
      "Create a certificate authority, and a server and a client certificate signed by it, for "
      "`blockstep coordinator --tls FOLDER` and `blockstep train --tls FOLDER`. Ranks need only "
      "ca.pem, client.pem and client-key.pem."};
  app.name("blockstep certs");
  app.add_option("folder", folder, "output folder; only you can read the files")->required();
  app.add_option(
         "--host", options.server_names,
         "name or address of the coordinator; may be repeated. localhost is always included")
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--days", options.days, "days of validity")
      ->capture_default_str()
      ->check(AboveZero());
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  const absl::Status status = WriteCertificates(folder, options);
  if (status.ok()) {
    std::printf("%s: ca.pem ca-key.pem server.pem server-key.pem client.pem client-key.pem\n",
                folder.c_str());
    return kExitOk;
  }
  std::fprintf(stderr, "blockstep certs: %s\n", std::string(Std(status.message())).c_str());
  return ExitCodeOf(status);
}

}  // namespace blockstep
