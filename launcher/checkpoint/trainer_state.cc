#include "launcher/checkpoint/trainer_state.h"

#include "core/base/status.h"
#include "launcher/config/step_proto.h"
#include "proto/checkpoint.pb.h"

namespace blockstep {
namespace {

constexpr int kTrainerStateVersion = 1;

}  // namespace

std::string SerializeTrainerState(const TrainerState& state) {
  proto::TrainerState out;
  out.set_version(kTrainerStateVersion);
  out.set_step(state.step);
  out.set_tokens(state.tokens);
  out.set_slot(state.slot);
  out.set_epoch(state.epoch);
  out.set_data_order(state.data_order);
  out.set_phase(state.phase);
  out.set_run_id(state.run_id);
  out.set_parent_run_id(state.parent_run_id);
  out.set_config_hash(state.config_hash);
  out.set_config_text(state.config_text);
  out.set_policy_state(state.policy_state);
  for (const Directive& directive : state.directives) {
    *out.add_directives() = ToProto(directive);
  }
  for (const EntryCounter& counter : state.counters) {
    proto::EntryCounter* c = out.add_counters();
    c->set_tensor(counter.tensor);
    c->set_row_begin(counter.rows.begin);
    c->set_row_end(counter.rows.end);
    c->set_updates(counter.updates);
  }
  out.set_bad_steps(state.bad_steps);
  out.set_best_eval_step(state.best_eval_step);
  out.set_best_eval_loss(state.best_eval_loss);
  return out.SerializeAsString();
}

absl::StatusOr<TrainerState> ParseTrainerState(std::string_view bytes, std::string_view where) {
  proto::TrainerState in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return DataLoss(where, ": corrupt: ", bytes.size(),
                    " bytes that are not a TrainerState message");
  }
  if (in.version() != kTrainerStateVersion) {
    return Unimplemented(where, ": expected version ", kTrainerStateVersion, ", got ",
                         in.version());
  }
  TrainerState state{.step = in.step(),
                     .tokens = in.tokens(),
                     .slot = in.slot(),
                     .epoch = in.epoch(),
                     .data_order = in.data_order(),
                     .phase = in.phase(),
                     .run_id = in.run_id(),
                     .parent_run_id = in.parent_run_id(),
                     .config_hash = in.config_hash(),
                     .config_text = in.config_text(),
                     .policy_state = in.policy_state(),
                     .bad_steps = in.bad_steps(),
                     .best_eval_step = in.best_eval_step(),
                     .best_eval_loss = in.best_eval_loss()};
  for (const proto::Directive& directive : in.directives()) {
    absl::StatusOr<Directive> one = FromProto(directive);
    if (!one.ok()) return Annotate(one.status(), where);
    state.directives.push_back(*std::move(one));
  }
  for (const proto::EntryCounter& c : in.counters()) {
    state.counters.push_back({c.tensor(), {c.row_begin(), c.row_end()}, c.updates()});
  }
  return state;
}

}  // namespace blockstep
