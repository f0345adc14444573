// Which code a command ends with: what was said, else by the kind of error.
#include "launcher/cli/exit_codes.h"

#include <gtest/gtest.h>

#include "core/base/status.h"

namespace blockstep {
namespace {

TEST(ExitCodes, AreWhatWasSaidNearestToTheError) {
  EXPECT_EQ(ExitCodeOf(WithExitCode(Unavailable("x"), kExitStopped)), kExitStopped);
  EXPECT_EQ(ExitCodeOf(WithExitCode(WithExitCode(DataLoss("x"), kExitNonFinite), kExitPeers)),
            kExitNonFinite);
  EXPECT_EQ(ExitCodeOf(WithExitCode(absl::OkStatus(), kExitFailure)), kExitOk);
}

// A run is only saved, or diverged, where somebody says so.
TEST(ExitCodes, SavedAndNonFiniteAreNeverConcluded) {
  for (int code = 1; code <= 16; ++code) {
    const ExitCode exit = ExitCodeOf(absl::Status(static_cast<absl::StatusCode>(code), "x"));
    EXPECT_NE(exit, kExitOk) << code;
    EXPECT_NE(exit, kExitStopped) << code;
    EXPECT_NE(exit, kExitNonFinite) << code;
  }
}

TEST(ExitCodes, FilesFlagsRoomAndPeersSpeakForThemselves) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), kExitOk);
  EXPECT_EQ(ExitCodeOf(InvalidArgument("x")), kExitUsage);
  EXPECT_EQ(ExitCodeOf(NotFound("x")), kExitBadInput);
  EXPECT_EQ(ExitCodeOf(DataLoss("x")), kExitBadInput);
  EXPECT_EQ(ExitCodeOf(ResourceExhausted("x")), kExitResources);
  EXPECT_EQ(ExitCodeOf(DeadlineExceeded("x")), kExitPeers);
  EXPECT_EQ(ExitCodeOf(Unavailable("x")), kExitPeers);
  EXPECT_EQ(ExitCodeOf(Internal("x")), kExitFailure);
}

}  // namespace
}  // namespace blockstep
