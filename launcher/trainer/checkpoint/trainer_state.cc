#include "launcher/trainer/checkpoint/trainer_state.h"

#include "core/base/status.h"
#include "proto/checkpoint.pb.h"

namespace blockstep {
namespace {

constexpr int kTrainerStateVersion = 1;

void SetDirective(const Directive& from, proto::Directive* to) {
  to->set_kind(static_cast<int>(from.kind));
  to->set_from(from.from);
  to->set_through(from.through);
  to->set_phase(from.phase);
  for (const ActiveSet& set : from.sets) {
    proto::ActiveSet* out = to->add_sets();
    for (const ActiveEntry& entry : set.entries) {
      proto::ActiveEntry* e = out->add_entries();
      e->set_tensor(entry.tensor);
      e->set_row_begin(entry.rows.begin);
      e->set_row_end(entry.rows.end);
      e->set_role(static_cast<int>(entry.role));
      e->set_rule(entry.rule);
      e->set_lr_scale(entry.lr_scale);
    }
  }
  for (const int tensor : from.probe_candidates) to->add_probe_candidates(tensor);
  to->set_probes_per_step(from.probes_per_step);
  to->set_label(from.label);
}

absl::StatusOr<Directive> GetDirective(const proto::Directive& from, std::string_view where) {
  if (from.kind() < 0 || from.kind() > 1) {
    return DataLoss(where, ": directive of kind ", from.kind(), ", wanted 0 or 1");
  }
  Directive to{.kind = static_cast<DirectiveKind>(from.kind()),
               .from = from.from(),
               .through = from.through(),
               .phase = from.phase(),
               .probes_per_step = from.probes_per_step(),
               .label = from.label()};
  for (const proto::ActiveSet& set : from.sets()) {
    ActiveSet& out = to.sets.emplace_back();
    for (const proto::ActiveEntry& e : set.entries()) {
      if (e.role() < 0 || e.role() > 2) {
        return DataLoss(where, ": entry of role ", e.role(), ", wanted 0 to 2");
      }
      out.entries.push_back({e.tensor(),
                             {e.row_begin(), e.row_end()},
                             static_cast<Role>(e.role()),
                             e.rule(),
                             e.lr_scale()});
    }
  }
  to.probe_candidates.assign(from.probe_candidates().begin(), from.probe_candidates().end());
  return to;
}

}  // namespace

std::string SerializeTrainerState(const TrainerState& state) {
  proto::TrainerState out;
  out.set_version(kTrainerStateVersion);
  out.set_step(state.step);
  out.set_tokens(state.tokens);
  out.set_slot(state.slot);
  out.set_epoch(state.epoch);
  out.set_phase(state.phase);
  out.set_run_id(state.run_id);
  out.set_parent_run_id(state.parent_run_id);
  out.set_config_hash(state.config_hash);
  out.set_config_text(state.config_text);
  out.set_policy_state(state.policy_state);
  for (const Directive& directive : state.directives) {
    SetDirective(directive, out.add_directives());
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
    return DataLoss(where, ": damaged: ", bytes.size(), " bytes that are no TrainerState message");
  }
  if (in.version() != kTrainerStateVersion) {
    return FailedPrecondition(where, ": version ", in.version(), " found, this build reads ",
                              kTrainerStateVersion);
  }
  TrainerState state{.step = in.step(),
                     .tokens = in.tokens(),
                     .slot = in.slot(),
                     .epoch = in.epoch(),
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
    ASSIGN_OR_RETURN(Directive one, GetDirective(directive, where));
    state.directives.push_back(std::move(one));
  }
  for (const proto::EntryCounter& c : in.counters()) {
    state.counters.push_back({c.tensor(), {c.row_begin(), c.row_end()}, c.updates()});
  }
  return state;
}

}  // namespace blockstep
