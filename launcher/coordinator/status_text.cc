#include "launcher/coordinator/status_text.h"

#include <cmath>
#include <sstream>

#include "core/base/status.h"
#include "google/protobuf/util/json_util.h"

namespace blockstep {
namespace {

std::string Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::ostringstream text;
  text.precision(10);
  text << value;
  return text.str();
}

// Names of runs come from outside.
std::string Quoted(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? "\\n" : std::string(1, c);
  }
  return text + "\"";
}

class Metrics {
 public:
  // The lines before a metric's samples. Names end in their unit, counters in _total.
  Metrics& Of(std::string_view name, std::string_view type, std::string_view help) {
    name_ = Cat("blockstep_", name);
    text_ += Cat("# HELP ", name_, " ", help, "\n# TYPE ", name_, " ", type, "\n");
    return *this;
  }
  Metrics& Is(double value, const std::string& labels = "") {
    text_ += Cat(name_, labels.empty() ? "" : "{" + labels + "}", " ", Number(value), "\n");
    return *this;
  }
  template <typename Value>
  Metrics& PerRank(const proto::StatusReply& status, Value value) {
    for (const proto::RankStatus& rank : status.ranks()) {
      Is(static_cast<double>(value(rank)), Cat("rank=\"", rank.rank(), "\""));
    }
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string name_, text_;
};

}  // namespace

absl::StatusOr<std::string> StatusJson(const proto::StatusReply& status) {
  google::protobuf::util::JsonPrintOptions print;
  print.add_whitespace = true;
  print.always_print_primitive_fields = true;
  print.preserve_proto_field_names = true;
  std::string json;
  const auto written = google::protobuf::util::MessageToJsonString(status, &json, print);
  if (!written.ok()) return Internal(written.ToString());
  return json;
}

std::string PrometheusText(const proto::StatusReply& s) {
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  Metrics m;
  m.Of("run_info", "gauge", "Always 1; the labels describe the run.")
      .Is(1, Cat("run_id=", Quoted(s.run_id()), ",policy=", Quoted(s.policy()),
                 ",config_hash=", Quoted(s.config_hash())));
  m.Of("step", "gauge", "Next step to be reported.").Is(real(s.next_step()));
  m.Of("steps", "gauge", "Total steps of the run.").Is(real(s.total_steps()));
  m.Of("loss_nats", "gauge", "Mean loss per token of the last finite step.").Is(s.loss());
  m.Of("tokens_total", "counter", "Tokens since this coordinator started.").Is(real(s.tokens()));
  m.Of("tokens_per_second", "gauge", "Tokens per second over the last reports.")
      .Is(s.tokens_per_second());
  m.Of("bad_steps_total", "counter", "Steps with non-finite values since this coordinator started.")
      .Is(real(s.bad_steps()));
  m.Of("switches", "gauge", "Switches of the active set up to the step.").Is(real(s.switches()));
  m.Of("term", "gauge", "Start count of the coordinator.").Is(real(s.term()));
  m.Of("view", "gauge", "Version of the membership.").Is(real(s.view()));
  m.Of("ranks", "gauge", "Ranks of the run.").Is(real(s.world()));
  m.Of("rank_step", "gauge", "Current step of the rank.").PerRank(s, [](const auto& r) {
    return r.progress().step();
  });
  m.Of("rank_silent_seconds", "gauge", "Time since the last message of the rank.")
      .PerRank(s, [](const auto& r) { return 1e-3 * static_cast<double>(r.silent_ms()); });
  m.Of("rank_connected", "gauge", "1 if the directive stream of the rank is open.")
      .PerRank(s, [](const auto& r) { return r.connected() ? 1 : 0; });
  return m.text();
}

}  // namespace blockstep
