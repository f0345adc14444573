#include "launcher/coordinator/http_endpoint.h"

#include <httplib.h>

#include <atomic>
#include <charconv>
#include <sstream>
#include <thread>

#include "core/base/status.h"
#include "google/protobuf/util/json_util.h"
#include "launcher/coordinator/channel.h"

namespace blockstep {
namespace {

class Metrics {
 public:
  template <typename T>
  Metrics& Add(std::string_view name, std::string_view type, std::string_view help, T value) {
    out_ << "# HELP blockstep_" << name << " " << help << "\n# TYPE blockstep_" << name << " "
         << type << "\nblockstep_" << name << " " << value << "\n";
    return *this;
  }
  template <typename Value>
  Metrics& PerRank(const proto::StatusReply& status, std::string_view name, std::string_view help,
                   Value value) {
    out_ << "# HELP blockstep_" << name << " " << help << "\n# TYPE blockstep_" << name
         << " gauge\n";
    for (const proto::RankStatus& rank : status.ranks()) {
      out_ << "blockstep_" << name << "{rank=\"" << rank.rank() << "\"} " << value(rank) << "\n";
    }
    return *this;
  }
  std::string Text() const { return out_.str(); }

 private:
  std::ostringstream out_;
};

// Takes as long whatever the first difference is.
bool SameToken(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) difference |= a[i] ^ b[i];
  return difference == 0;
}

}  // namespace

std::string PrometheusText(const proto::StatusReply& s) {
  return Metrics()
      .Add("step", "gauge", "Step whose report is awaited.", s.next_step())
      .Add("loss", "gauge", "Mean loss per token of the last finite step.", s.loss())
      .Add("tokens_total", "counter", "Tokens since the coordinator started.", s.tokens())
      .Add("tokens_per_second", "gauge", "Over the last reports.", s.tokens_per_second())
      .Add("bad_steps_total", "counter", "Steps with non-finite values.", s.bad_steps())
      .Add("switches_total", "counter", "Switches of the active set.", s.switches())
      .Add("term", "gauge", "Start count of the coordinator.", s.term())
      .Add("epoch", "gauge", "Version of the membership.", s.epoch())
      .Add("world", "gauge", "Ranks of the run.", s.world())
      .PerRank(s, "rank_step", "Step that the rank works on.",
               [](const proto::RankStatus& r) { return r.progress().step(); })
      .PerRank(s, "rank_silent_seconds", "Time since the rank was heard.",
               [](const proto::RankStatus& r) { return 1e-3 * static_cast<double>(r.silent_ms()); })
      .PerRank(s, "rank_connected", "1: its stream of directives is open.",
               [](const proto::RankStatus& r) { return r.connected() ? 1 : 0; })
      .Text();
}

struct HttpEndpoint::Impl {
  httplib::Server server;
  std::thread thread;
  std::atomic<bool> ended{false};
  int port = 0;
};

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(HttpEndpointOptions o) {
  const size_t colon = o.address.rfind(':');
  int port = -1;
  if (colon != std::string::npos) {
    const char* end = o.address.data() + o.address.size();
    const auto parsed = std::from_chars(o.address.data() + colon + 1, end, port);
    if (parsed.ec != std::errc() || parsed.ptr != end) port = -1;
  }
  if (port < 0 || port > 65535) {
    return InvalidArgument("http_address: found ", o.address, ", wanted host:port");
  }
  if (!IsLoopback(o.address) && o.token.empty()) {
    return InvalidArgument("http_address ", o.address,
                           ": found no token on an address that others reach, wanted one");
  }
  auto impl = std::make_unique<Impl>();
  // Few readers: more threads than these only cost memory.
  impl->server.new_task_queue = [] { return new httplib::ThreadPool(2); };
  impl->server.set_payload_max_length(4096);
  // A reader that says nothing, or stays, must not keep the others out.
  impl->server.set_read_timeout(1);
  impl->server.set_write_timeout(1);
  impl->server.set_keep_alive_max_count(1);
  const auto guarded = [token = o.token](auto answer) {
    return [token, answer](const httplib::Request& request, httplib::Response& response) {
      if (!token.empty() &&
          !SameToken(request.get_header_value("Authorization"), "Bearer " + token)) {
        response.status = 401;
        response.set_header("WWW-Authenticate", "Bearer");
        return;
      }
      answer(response);
    };
  };
  impl->server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  impl->server.Get("/metrics", guarded([state = o.state](httplib::Response& response) {
                     response.set_content(PrometheusText(state->Status()),
                                          "text/plain; version=0.0.4");
                   }));
  impl->server.Get("/status", guarded([state = o.state](httplib::Response& response) {
                     google::protobuf::util::JsonPrintOptions print;
                     print.add_whitespace = true;
                     print.always_print_primitive_fields = true;
                     print.preserve_proto_field_names = true;
                     std::string json;
                     const auto status =
                         google::protobuf::util::MessageToJsonString(state->Status(), &json, print);
                     if (!status.ok()) response.status = 500;
                     response.set_content(json, "application/json");
                   }));
  std::string host = o.address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  const bool bound = port == 0 ? (impl->port = impl->server.bind_to_any_port(host.c_str())) > 0
                               : impl->server.bind_to_port(host.c_str(), impl->port = port);
  if (!bound) return ResourceExhausted("http_address ", o.address, ": cannot listen there");
  impl->thread = std::thread([impl = impl.get()] {
    impl->server.listen_after_bind();
    impl->ended = true;
  });
  return std::unique_ptr<HttpEndpoint>(new HttpEndpoint(std::move(impl)));
}

HttpEndpoint::HttpEndpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpEndpoint::~HttpEndpoint() {
  // stop() before the thread is inside listen would be lost.
  while (!impl_->server.is_running() && !impl_->ended) std::this_thread::yield();
  impl_->server.stop();
  impl_->thread.join();
}

int HttpEndpoint::port() const { return impl_->port; }

}  // namespace blockstep
