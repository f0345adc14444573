#include "optim/policy/validate.h"

#include <algorithm>

#include "core/base/faults.h"
#include "launcher/config/host_port.h"
#include "launcher/config/train_config_internal.h"

namespace blockstep {
namespace {

// Bounds that no run comes near; within them products of fields fit int64, and times fit what the
// clocks count in.
constexpr int64_t kMostSteps = int64_t{1} << 40;
constexpr int64_t kMostSlots = int64_t{1} << 20;
constexpr int64_t kMostEntries = int64_t{1} << 20;
constexpr int64_t kMostKept = int64_t{1} << 30;
constexpr int64_t kMostThreads = 1024;  // what an affinity mask holds (CPU_SETSIZE)
constexpr int64_t kMostLocalRanks = 256;
constexpr double kMostSeconds = 1e8;  // three years

// A field's own location; of one in a repeated message that was not given, the message's.
std::string LocationOf(const std::string& field, const FieldLocations& locations,
                       std::string_view file) {
  auto location = locations.find(field);
  const size_t message = field.rfind("].");
  if (location == locations.end() && message != std::string::npos) {
    location = locations.find(field.substr(0, message + 1));
  }
  if (location != locations.end()) return location->second;
  return file.empty() ? "without --config" : std::string(file);
}

void ModelAndData(const TrainConfig& c, Faults& checks) {
  const int sources = !c.model.path.empty() + !c.model.config.empty() + !c.model.preset.empty();
  checks.Require(sources <= 1, !c.model.path.empty() ? "model.path" : "model.config",
                 Cat(sources, " of them"), "only one of model.path, model.config, model.preset");
  checks.Require(sources >= 1, "model", "none", "one of model.path, model.config, model.preset");
  checks.AtLeast("model.vocab", c.model.vocab, int64_t{0});
  checks.AtMost("model.vocab", c.model.vocab, kMostVocab);
  checks.Require(c.model.vocab == 0 || !c.model.preset.empty() || sources == 0, "model.vocab",
                 c.model.vocab, "0 without model.preset");
  checks.AtLeast("data.tokens", c.data.tokens, int64_t{1});
  checks.AtMost("data.tokens", c.data.tokens, kMostPositions);
  checks.AtLeast("batch.slots", c.batch.slots, int64_t{1});
  checks.AtMost("batch.slots", c.batch.slots, kMostSlots);
  checks.AtLeast("batch.micro_slots", c.batch.micro_slots, int64_t{1});
  checks.Require(c.batch.micro_slots <= c.batch.slots, "batch.micro_slots", c.batch.micro_slots,
                 Cat("<= batch.slots (", c.batch.slots, ")"));
}

void Training(const TrainConfig& c, Faults& checks) {
  checks.AtMost("train.steps", c.train.steps, kMostSteps);
  checks.AtLeast("train.loss_chunk", c.train.loss_chunk, int64_t{1});
  checks.AtMost("train.loss_chunk", c.train.loss_chunk, kMostPositions);
  checks.AtLeast("train.clip_norm", c.train.clip_norm, 0.0);
  checks.AtLeast("train.max_bad_steps", c.train.max_bad_steps, int64_t{1});
  checks.Require(c.train.precision == Precision::kFp32, "train.precision", "bf16",
                 "fp32 (this build has no bf16)");
  if (c.train.numerics == Numerics::kSlotExact) {
    checks.Require(c.batch.micro_slots == 1, "batch.micro_slots", c.batch.micro_slots,
                   "1 with train.numerics slot_exact");
    checks.Require(c.train.accumulate == AccumulateChoice::kLocal, "train.accumulate", "sharded",
                   "local with train.numerics slot_exact");
  }
  const TrainConfig::Optimizer& o = c.optimizer;
  const auto fraction = [&](const std::string& field, double value) {
    checks.Require(value >= 0 && value < 1, field, value, "a value in [0, 1)");
  };
  checks.Require(o.lr > 0, "optimizer.lr", o.lr, "> 0");
  checks.Require(o.eps > 0, "optimizer.eps", o.eps, "> 0");
  fraction("optimizer.beta1", o.beta1);
  fraction("optimizer.beta2", o.beta2);
  checks.AtLeast("optimizer.weight_decay", o.weight_decay, 0.0);
  checks.Require(c.train.steps < 1 ||
                     (o.schedule.warmup_steps >= 0 && o.schedule.warmup_steps <= c.train.steps),
                 "optimizer.schedule.warmup_steps", o.schedule.warmup_steps,
                 Cat("0 to train.steps (", c.train.steps, ")"));
  checks.Require(o.schedule.floor >= 0 && o.schedule.floor <= 1, "optimizer.schedule.floor",
                 o.schedule.floor, "0 to 1 (a share of lr)");
}

// As the policy will be, but for the tensors of a script: those need the model.
PolicyConfig WithoutModel(const TrainConfig& c) {
  PolicyConfig policy = c.policy;
  policy.total_steps = c.train.steps;
  policy.lag = c.coordinator.lag;
  for (const NamedPhase& named : c.script) {
    policy.script.push_back(
        {.set = {std::vector<ActiveEntry>(named.entries.size())}, .steps = named.steps});
  }
  return policy;
}

// The policy's own limits, said of the fields where they come from.
void PolicyFields(const TrainConfig& c, Faults& checks) {
  const Faults limits = CheckLimits(WithoutModel(c));
  for (const Fault& fault : limits.list()) {
    checks.Add(fault.field == "total_steps" ? "train.steps"
               : fault.field == "lag"       ? "coordinator.lag"
                                            : "policy." + fault.field,
               fault.text);
  }
  const PolicyConfig& p = c.policy;
  checks.AtMost("policy.block_steps", p.block_steps, kMostSteps);
  checks.AtMost<int64_t>("policy.embedding_split", p.embedding_split, kMostEntries);
  checks.AtMost("policy.patience", p.patience, kMostSteps);
  checks.AtMost<int64_t>("policy.probes_per_step", p.probes_per_step, kMostEntries);
  for (size_t i = 0; i < c.script.size(); ++i) {
    const std::string phase = Cat("policy.phase[", i, "]");
    checks.AtMost(phase + ".steps", c.script[i].steps, kMostSteps);
    for (size_t e = 0; e < c.script[i].entries.size(); ++e) {
      const NamedRows& rows = c.script[i].entries[e];
      const std::string entry = Cat("policy.phase[", i, "].entry[", e, "]");
      checks.Require(!rows.tensor.empty(), entry + ".tensor", "none", "a tensor's name");
      checks.Require(rows.lr_scale > 0, entry + ".lr_scale", rows.lr_scale, "> 0");
    }
  }
}

void PlaceAndShow(const TrainConfig& c, Faults& checks) {
  const bool budget = c.placement.mode == PlacementMode::kBudget;
  checks.Require(budget || c.placement.pin_budget_bytes == 0, "placement.pin_budget_bytes",
                 c.placement.pin_budget_bytes, "0 without placement.mode budget");
  checks.AtLeast("placement.pin_budget_bytes", c.placement.pin_budget_bytes, int64_t{0});
  const bool node = c.placement.mode == PlacementMode::kNode;
  checks.Require(node || c.placement.ranks_per_group == 0, "placement.ranks_per_group",
                 c.placement.ranks_per_group, "0 without placement.mode node");
  checks.AtLeast("placement.ranks_per_group", c.placement.ranks_per_group, int64_t{0});
  checks.AtLeast("runtime.threads", c.runtime.threads, int64_t{0});
  checks.AtMost("runtime.threads", c.runtime.threads, kMostThreads);
  checks.AtLeast("runtime.local_ranks", c.runtime.local_ranks, int64_t{1});
  checks.AtMost("runtime.local_ranks", c.runtime.local_ranks, kMostLocalRanks);
  checks.Require(c.runtime.transport == TransportKind::kLocal || c.runtime.local_ranks == 1,
                 "runtime.local_ranks", c.runtime.local_ranks,
                 "1 with transport mpi (mpirun -n sets the number of ranks)");
  checks.Require(c.runtime.comm_timeout_s > 0, "runtime.comm_timeout_s", c.runtime.comm_timeout_s,
                 "> 0");
  checks.Require(c.runtime.compute_timeout_s > 0, "runtime.compute_timeout_s",
                 c.runtime.compute_timeout_s, "> 0");
  checks.AtLeast("runtime.memory_limit_bytes", c.runtime.memory_limit_bytes, int64_t{0});
  const TrainConfig::Coordinator& k = c.coordinator;
  checks.Require(k.grace_s > 0, "coordinator.grace_s", k.grace_s, "> 0");
  checks.Require(k.lease_s >= 2, "coordinator.lease_s", k.lease_s, ">= 2");
  checks.Require(k.keepalive_s > 0, "coordinator.keepalive_s", k.keepalive_s, "> 0");
  const int tls = !k.tls_ca.empty() + !k.tls_cert.empty() + !k.tls_key.empty();
  checks.Require(tls == 0 || tls == 3, "coordinator.tls_ca", Cat(tls, " of them"),
                 "all of tls_ca, tls_cert and tls_key, or none");
  checks.Require(tls == 0 || !k.insecure, "coordinator.insecure", "true", "false with TLS files");
  for (const auto& [field, address] :
       {std::pair<std::string, std::string>("coordinator.address", k.address),
        {"coordinator.http_address", k.http_address}}) {
    checks.Require(address.empty() || IsHostPort(address), field, address, kHostPort);
  }
  checks.AtLeast("checkpoint.every_steps", c.checkpoint.every_steps, int64_t{0});
  checks.AtLeast("checkpoint.keep", c.checkpoint.keep, int64_t{0});
  checks.AtMost("checkpoint.keep", c.checkpoint.keep, kMostKept);
  checks.AtLeast("checkpoint.keep_every_steps", c.checkpoint.keep_every_steps, int64_t{0});
  checks.Require(c.checkpoint.every_steps == 0 ||
                     c.checkpoint.keep_every_steps % c.checkpoint.every_steps == 0,
                 "checkpoint.keep_every_steps", c.checkpoint.keep_every_steps,
                 Cat("a multiple of checkpoint.every_steps (", c.checkpoint.every_steps, ")"));
  checks.AtLeast("checkpoint.max_file_bytes", c.checkpoint.max_file_bytes, int64_t{1});
  checks.Require(c.checkpoint.disk_timeout_s > 0, "checkpoint.disk_timeout_s",
                 c.checkpoint.disk_timeout_s, "> 0");
  for (const auto& [field, seconds] :
       {std::pair<std::string, double>("runtime.comm_timeout_s", c.runtime.comm_timeout_s),
        {"coordinator.grace_s", k.grace_s},
        {"coordinator.lease_s", k.lease_s},
        {"coordinator.keepalive_s", k.keepalive_s},
        {"checkpoint.disk_timeout_s", c.checkpoint.disk_timeout_s}}) {
    checks.AtMost(field, seconds, kMostSeconds);
  }
  checks.AtLeast("eval.every_steps", c.eval.every_steps, int64_t{0});
  checks.AtLeast("eval.slots", c.eval.slots, int64_t{0});
  checks.Require(c.eval.every_steps == 0 || !c.data.val.empty(), "eval.every_steps",
                 c.eval.every_steps, "0 without data.val");
  checks.AtLeast("log.every_steps", c.log.every_steps, int64_t{1});
}

}  // namespace

void Validate(const FieldLocations& locations, std::string_view file, TrainConfig* config,
              std::vector<ConfigError>* errors) {
  if (config->train.numerics == Numerics::kSlotExact) {
    if (locations.count("batch.micro_slots") == 0) config->batch.micro_slots = 1;
    if (config->train.accumulate == AccumulateChoice::kAuto) {
      config->train.accumulate = AccumulateChoice::kLocal;
    }
  }
  Faults checks;
  ModelAndData(*config, checks);
  Training(*config, checks);
  PolicyFields(*config, checks);
  PlaceAndShow(*config, checks);
  for (const Fault& fault : checks.list()) {
    errors->push_back(
        {LocationOf(fault.field, locations, file), Cat(fault.field, ": ", fault.text)});
  }
}

}  // namespace blockstep
