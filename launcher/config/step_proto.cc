#include "launcher/config/step_proto.h"

#include "core/base/status.h"

// A value on either side that has no partner on the other does not compile.

#pragma GCC diagnostic error "-Wswitch"

namespace blockstep {
namespace {

absl::StatusOr<Role> ToRole(int role) {
  if (role < 0 || role > static_cast<int>(Role::kFused)) {
    return InvalidArgument("role: expected 0 to ", static_cast<int>(Role::kFused), ", got ", role);
  }
  return static_cast<Role>(role);
}

absl::StatusOr<ActiveSet> SetFromProto(const proto::ActiveSet& from) {
  ActiveSet set;
  set.entries.reserve(from.entries_size());
  for (const proto::ActiveEntry& e : from.entries()) {
    ASSIGN_OR_RETURN(const Role role, ToRole(e.role()));
    if (e.tensor() < 0 || e.row_begin() < 0 || e.row_end() <= e.row_begin() || e.rule() < 0) {
      return InvalidArgument("active entry: expected a non-empty range of a tensor, got tensor ",
                             e.tensor(), " rows [", e.row_begin(), ", ", e.row_end(), ") rule ",
                             e.rule());
    }
    set.entries.push_back({.tensor = e.tensor(),
                           .rows = {e.row_begin(), e.row_end()},
                           .role = role,
                           .rule = e.rule(),
                           .lr_scale = e.lr_scale()});
  }
  return set;
}

}  // namespace

proto::Directive ToProto(const Directive& directive) {
  proto::Directive to;
  to.set_kind(static_cast<int>(directive.kind));
  to.set_from(directive.from);
  to.set_through(directive.through);
  to.set_phase(directive.phase);
  for (const ActiveSet& set : directive.sets) {
    proto::ActiveSet* s = to.add_sets();
    for (const ActiveEntry& entry : set.entries) {
      proto::ActiveEntry* e = s->add_entries();
      e->set_tensor(entry.tensor);
      e->set_row_begin(entry.rows.begin);
      e->set_row_end(entry.rows.end);
      e->set_role(static_cast<int>(entry.role));
      e->set_rule(entry.rule);
      e->set_lr_scale(entry.lr_scale);
    }
  }
  for (int tensor : directive.probe_candidates) to.add_probe_candidates(tensor);
  to.set_probes_per_step(directive.probes_per_step);
  to.set_label(directive.label);
  return to;
}

absl::StatusOr<Directive> FromProto(const proto::Directive& from) {
  if (from.kind() < 0 || from.kind() > static_cast<int>(DirectiveKind::kSweep) || from.from() < 0 ||
      from.through() < from.from() || from.sets_size() == 0 || from.probes_per_step() < 0) {
    return InvalidArgument("directive: expected a kind, from <= through, and sets, got kind ",
                           from.kind(), " steps [", from.from(), ", ", from.through(), "] ",
                           from.sets_size(), " sets ", from.probes_per_step(), " probes");
  }
  Directive to{.kind = static_cast<DirectiveKind>(from.kind()),
               .from = from.from(),
               .through = from.through(),
               .phase = from.phase(),
               .probe_candidates = {from.probe_candidates().begin(), from.probe_candidates().end()},
               .probes_per_step = from.probes_per_step(),
               .label = from.label()};
  for (const proto::ActiveSet& set : from.sets()) {
    ASSIGN_OR_RETURN(ActiveSet plain, SetFromProto(set));
    to.sets.push_back(std::move(plain));
  }
  return to;
}

proto::StepReport ToProto(const StepReport& report) {
  proto::StepReport to;
  to.set_step(report.step);
  to.set_loss_sum(report.loss_sum);
  to.set_tokens(report.tokens);
  to.set_nonfinite(report.nonfinite);
  for (const TensorNorm& norm : report.norms) {
    proto::TensorNorm* n = to.add_norms();
    n->set_tensor(norm.tensor);
    n->set_role(static_cast<int>(norm.role));
    n->set_squared_norm(norm.squared_norm);
    n->set_elements(norm.elements);
    // NaN is a measurement too, one that overflowed.
    if (!(norm.adam_squared_norm < 0)) n->set_adam_squared_norm(norm.adam_squared_norm);
  }
  return to;
}

absl::StatusOr<StepReport> FromProto(const proto::StepReport& from) {
  if (from.step() < 0 || from.tokens() < 0 || from.nonfinite() < 0) {
    return InvalidArgument("report: expected no negative number, got step ", from.step(),
                           " tokens ", from.tokens(), " nonfinite ", from.nonfinite());
  }
  StepReport to{.step = from.step(),
                .loss_sum = from.loss_sum(),
                .tokens = from.tokens(),
                .nonfinite = from.nonfinite()};
  to.norms.reserve(from.norms_size());
  for (const proto::TensorNorm& n : from.norms()) {
    ASSIGN_OR_RETURN(const Role role, ToRole(n.role()));
    if (n.tensor() < 0 || n.elements() < 0) {
      return InvalidArgument("report: expected no negative number, got tensor ", n.tensor(),
                             " elements ", n.elements());
    }
    to.norms.push_back(
        {.tensor = n.tensor(),
         .role = role,
         .squared_norm = n.squared_norm(),
         .elements = n.elements(),
         .adam_squared_norm = n.has_adam_squared_norm() ? n.adam_squared_norm() : -1});
  }
  return to;
}

proto::Stage ToProto(RunStage stage) {
  switch (stage) {
    case RunStage::kUnknown:
      return proto::UNKNOWN;
    case RunStage::kStarting:
      return proto::STARTING;
    case RunStage::kStep:
      return proto::STEP;
    case RunStage::kEvaluate:
      return proto::EVALUATE;
    case RunStage::kSave:
      return proto::SAVE;
    case RunStage::kEnd:
      return proto::END;
    case RunStage::kDisk:
      return proto::DISK;
  }
  return proto::UNKNOWN;
}

RunStage FromProto(proto::Stage stage) {
  switch (stage) {
    case proto::UNKNOWN:
      return RunStage::kUnknown;
    case proto::STARTING:
      return RunStage::kStarting;
    case proto::STEP:
      return RunStage::kStep;
    case proto::EVALUATE:
      return RunStage::kEvaluate;
    case proto::SAVE:
      return RunStage::kSave;
    case proto::END:
      return RunStage::kEnd;
    case proto::DISK:
      return RunStage::kDisk;
    // What protobuf adds so that the enum has 32 bits; no default, so that a new value is an error.
    case proto::Stage_INT_MIN_SENTINEL_DO_NOT_USE_:
    case proto::Stage_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return RunStage::kUnknown;
}

}  // namespace blockstep
