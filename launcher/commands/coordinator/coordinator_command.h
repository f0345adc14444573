// `blockstep coordinator` without its command line: what tests start, too.
#pragma once

#include <string>
#include <vector>

#include "launcher/coordinator/coordinator_server.h"

namespace blockstep {

struct CoordinatorFlags {
  std::string config_file;
  std::vector<std::string> sets;
  std::string folder;  // log and contact; the same one after a restart
  std::string bind = "127.0.0.1:0";
  std::string tls;  // folder; empty: none
  bool insecure = false;
};

// The folder exists afterwards. Port 0 becomes the port of the folder's last start, if it had one:
// ranks look for a coordinator that comes back at its old address.
absl::StatusOr<CoordinatorServerOptions> MakeServerOptions(const CoordinatorFlags& flags);

// Serves until the run is done and its ranks have left. UNAVAILABLE: a stop signal came first.
absl::Status Serve(const CoordinatorFlags& flags, CoordinatorServerOptions options);

}  // namespace blockstep
