#include <algorithm>
#include <limits>

#include "launcher/config/train_config_internal.h"

namespace blockstep {
namespace {

// Enums of both sides are numbered alike; the static_asserts hold the last of each together, and
// the round trip in the tests the rest.
template <typename To, typename From>
To Same(From value) {
  return static_cast<To>(static_cast<int>(value));
}
static_assert(static_cast<int>(SlotOrderKind::kFile) == proto::DataConfig::file);
static_assert(static_cast<int>(Precision::kBf16) == proto::TrainSection::bf16);
static_assert(static_cast<int>(Numerics::kSlotExact) == proto::TrainSection::slot_exact);
static_assert(static_cast<int>(Recompute::kLayer) == proto::TrainSection::layer);
static_assert(static_cast<int>(AccumulateChoice::kSharded) == proto::TrainSection::sharded);
static_assert(static_cast<int>(ScheduleShape::kCosine) == proto::ScheduleConfig::cosine);
static_assert(static_cast<int>(DecayOn::kAll) == proto::OptimizerConfig::all);
static_assert(static_cast<int>(BlockOrder::kRandom) == proto::PolicySection::random);
static_assert(static_cast<int>(TensorPolicy::kAsBlocks) == proto::PolicySection::as_blocks);
static_assert(static_cast<int>(BlockLlmMode::kPaper) == proto::PolicySection::paper);
static_assert(static_cast<int>(BlockLlmScore::kAdam) == proto::PolicySection::adam);
static_assert(static_cast<int>(ProbeScope::kAll) == proto::PolicySection::all);
static_assert(static_cast<int>(BlockLlmMask::kLiteral) == proto::PolicySection::literal);
static_assert(static_cast<int>(PlacementMode::kBudget) == proto::PlacementConfig::budget);
static_assert(static_cast<int>(PlacementMode::kNode) == proto::PlacementConfig::node);
static_assert(static_cast<int>(BackendKind::kCuda) == proto::RuntimeConfig::cuda);
static_assert(static_cast<int>(TransportKind::kLocal) == proto::RuntimeConfig::local);

// One list of fields serves both directions: `Load` copies proto to plain, `Store` plain to proto.
struct Load {
  template <typename T, typename U, typename Set>
  void operator()(T& plain, const U& value, Set) const {
    if constexpr (std::is_enum_v<T>) {
      plain = Same<T>(value);
    } else if constexpr (std::is_same_v<T, int>) {
      // What does not fit must not come back as a small number: Validate refuses the greatest.
      constexpr int64_t kMost = std::numeric_limits<int>::max();
      plain = static_cast<int>(std::clamp<int64_t>(value, -kMost, kMost));
    } else {
      plain = value;
    }
  }
};
struct Store {
  template <typename T, typename U, typename Set>
  void operator()(T& plain, const U&, Set set) const {
    if constexpr (std::is_enum_v<T>) {
      set(Same<U>(plain));
    } else {
      set(plain);
    }
  }
};

#define FIELD(name) \
  copy(plain.name, wire->name(), [&](const auto& value) { wire->set_##name(value); })

template <typename Copy>
void Model(TrainConfig::Model& plain, proto::ModelConfig* wire, Copy copy) {
  FIELD(path);
  FIELD(config);
  FIELD(preset);
  FIELD(vocab);
  FIELD(init_seed);
}
template <typename Copy>
void Data(TrainConfig::Data& plain, proto::DataConfig* wire, Copy copy) {
  FIELD(tokens);
  FIELD(order);
  FIELD(document_mask);
}
template <typename Copy>
void Batch(TrainConfig::Batch& plain, proto::BatchConfig* wire, Copy copy) {
  FIELD(slots);
  FIELD(micro_slots);
}
template <typename Copy>
void Train(TrainConfig::Train& plain, proto::TrainSection* wire, Copy copy) {
  FIELD(steps);
  FIELD(seed);
  FIELD(precision);
  FIELD(numerics);
  FIELD(recompute);
  FIELD(loss_chunk);
  FIELD(clip_norm);
  FIELD(max_bad_steps);
  FIELD(accumulate);
}
template <typename Copy>
void Schedule(TrainConfig::Schedule& plain, proto::ScheduleConfig* wire, Copy copy) {
  FIELD(shape);
  FIELD(warmup_steps);
  FIELD(floor);
}
template <typename Copy>
void Optimizer(TrainConfig::Optimizer& plain, proto::OptimizerConfig* wire, Copy copy) {
  FIELD(rule);
  FIELD(lr);
  FIELD(beta1);
  FIELD(beta2);
  FIELD(eps);
  FIELD(weight_decay);
  FIELD(weight_decay_on);
  Schedule(plain.schedule, wire->mutable_schedule(), copy);
}
template <typename Copy>
void Policy(PolicyConfig& plain, proto::PolicySection* wire, Copy copy) {
  FIELD(order);
  FIELD(block_steps);
  FIELD(embedding);
  FIELD(final_norm);
  FIELD(embedding_split);
  FIELD(mode);
  FIELD(score);
  FIELD(sparsity);
  FIELD(patience);
  FIELD(probes_per_step);
  FIELD(sweep_elements);
  FIELD(probe_scope);
  FIELD(mask);
}
template <typename Copy>
void Placement(TrainConfig::Placement& plain, proto::PlacementConfig* wire, Copy copy) {
  FIELD(mode);
  FIELD(pin_budget_bytes);
  FIELD(ranks_per_group);
}
template <typename Copy>
void Runtime(TrainConfig::Runtime& plain, proto::RuntimeConfig* wire, Copy copy) {
  FIELD(backend);
  FIELD(threads);
  FIELD(transport);
  FIELD(local_ranks);
  FIELD(comm_timeout_s);
  FIELD(compute_timeout_s);
  FIELD(memory_limit_bytes);
  FIELD(trace);
  FIELD(digests);
}
template <typename Copy>
void Coordinator(TrainConfig::Coordinator& plain, proto::CoordinatorConfig* wire, Copy copy) {
  FIELD(address);
  FIELD(grace_s);
  FIELD(lag);
  FIELD(tls_ca);
  FIELD(tls_cert);
  FIELD(tls_key);
  FIELD(insecure);
  FIELD(http_address);
  FIELD(keepalive_s);
  FIELD(lease_s);
}
template <typename Copy>
void Checkpoint(TrainConfig::Checkpoint& plain, proto::CheckpointConfig* wire, Copy copy) {
  FIELD(every_steps);
  FIELD(keep);
  FIELD(keep_every_steps);
  FIELD(max_file_bytes);
  FIELD(disk_timeout_s);
  FIELD(background);
}
template <typename Copy>
void Eval(TrainConfig::Eval& plain, proto::EvalConfig* wire, Copy copy) {
  FIELD(every_steps);
  FIELD(slots);
}
template <typename Copy>
void Log(TrainConfig::Log& plain, proto::LogConfig* wire, Copy copy) {
  FIELD(every_steps);
  FIELD(tensorboard);
  FIELD(data_ledger);
}
#undef FIELD

template <typename Copy>
void Scalars(TrainConfig& plain, proto::TrainConfig* wire, Copy copy) {
  Model(plain.model, wire->mutable_model(), copy);
  Data(plain.data, wire->mutable_data(), copy);
  Batch(plain.batch, wire->mutable_batch(), copy);
  Train(plain.train, wire->mutable_train(), copy);
  Optimizer(plain.optimizer, wire->mutable_optimizer(), copy);
  Policy(plain.policy, wire->mutable_policy(), copy);
  Placement(plain.placement, wire->mutable_placement(), copy);
  Runtime(plain.runtime, wire->mutable_runtime(), copy);
  Coordinator(plain.coordinator, wire->mutable_coordinator(), copy);
  Checkpoint(plain.checkpoint, wire->mutable_checkpoint(), copy);
  Eval(plain.eval, wire->mutable_eval(), copy);
  Log(plain.log, wire->mutable_log(), copy);
}

}  // namespace

TrainConfig FromProto(const proto::TrainConfig& from) {
  TrainConfig to;
  proto::TrainConfig wire = from;
  Scalars(to, &wire, Load());
  to.data.train.assign(from.data().train().begin(), from.data().train().end());
  to.data.val.assign(from.data().val().begin(), from.data().val().end());
  to.policy.name = proto::PolicySection::Name_Name(from.policy().name());
  for (const proto::ScriptedPhase& phase : from.policy().phase()) {
    NamedPhase& named = to.script.emplace_back();
    named.steps = phase.steps();
    for (const proto::ScriptedEntry& entry : phase.entry()) {
      named.entries.push_back({.tensor = entry.tensor(),
                               .rows = {entry.row_begin(), entry.row_end()},
                               .lr_scale = entry.lr_scale()});
    }
  }
  return to;
}

proto::TrainConfig ToProto(const TrainConfig& from) {
  proto::TrainConfig to;
  TrainConfig plain = from;
  Scalars(plain, &to, Store());
  for (const std::string& file : from.data.train) to.mutable_data()->add_train(file);
  for (const std::string& file : from.data.val) to.mutable_data()->add_val(file);
  proto::PolicySection::Name name = proto::PolicySection::full;
  proto::PolicySection::Name_Parse(from.policy.name, &name);
  to.mutable_policy()->set_name(name);
  for (const NamedPhase& named : from.script) {
    proto::ScriptedPhase* phase = to.mutable_policy()->add_phase();
    phase->set_steps(named.steps);
    for (const NamedRows& rows : named.entries) {
      proto::ScriptedEntry* entry = phase->add_entry();
      entry->set_tensor(rows.tensor);
      entry->set_row_begin(rows.rows.begin);
      entry->set_row_end(rows.rows.end);
      entry->set_lr_scale(rows.lr_scale);
    }
  }
  return to;
}

}  // namespace blockstep
