#include "launcher/train/metrics/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace blockstep {
namespace {

// What a printer writes.
std::string Printed(ProgressOptions options, const std::function<void(ProgressPrinter&)>& use) {
  std::string result;
  {
    ProgressPrinter printer(options, [&](std::string text) { result += text; });
    use(printer);
  }
  return result;
}

TEST(Progress, LineSaysSpeedAndTimeLeft) {
  const ProgressOptions options{.total_steps = 100, .first_step = 40};
  // 10 steps of this process took 20 s; 50 are left.
  EXPECT_EQ(ProgressLine(options, {.step = 49,
                                   .loss = 3.25,
                                   .lr = 1e-3,
                                   .block = "layer 3",
                                   .seconds = 20,
                                   .tokens = 400'000}),
            "step 50/100  loss 3.2500  lr 0.001  20.0k tok/s  ETA 1m40s  [layer 3]");
}

TEST(Progress, PlainLinesComeEverySoOften) {
  const std::string text =
      Printed({.total_steps = 25, .plain_every = 10}, [](ProgressPrinter& printer) {
        for (int64_t step = 0; step < 25; ++step) printer.Step({.step = step});
        printer.End();
      });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);  // 1, 10, 20, 25
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_NE(text.find("step 25/25"), std::string::npos);
}

TEST(Progress, TerminalRewritesAndWipesALongerLine) {
  const std::string text = Printed({.total_steps = 9, .terminal = true}, [](ProgressPrinter& p) {
    p.Step({.step = 0, .block = "a long label"});
    p.Step({.step = 1, .block = "b"});
    p.Note("saved");
  });
  EXPECT_EQ(text,
            "\rstep 1/9  loss 0.0000  lr 0  [a long label]"
            "\rstep 2/9  loss 0.0000  lr 0  [b]           \nsaved\n");
}

TEST(Progress, Durations) {
  EXPECT_EQ(Duration(12.4), "12s");
  EXPECT_EQ(Duration(187), "3m07s");
  EXPECT_EQ(Duration(7500), "2h05m");
  EXPECT_EQ(Duration(2 * 86400 + 3600), "2d01h");
  EXPECT_EQ(Duration(std::nan("")), "?");
  EXPECT_EQ(Duration(1e12), "?");
}

}  // namespace
}  // namespace blockstep
