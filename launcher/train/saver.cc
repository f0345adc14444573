#include "launcher/train/saver.h"

#include "core/base/status.h"
#include "core/base/trace.h"

namespace blockstep {
namespace {}  // namespace

bool PlansBackgroundSaves(const TrainConfig& config) {
  return config.checkpoint.background && config.checkpoint.every_steps > 0 &&
         config.checkpoint.every_steps < config.train.steps;
}

struct Saver::Stall {
  explicit Stall(Saver& saver)
      : saver(saver), disk(saver.o_.disk, Cat("the save of step ", saver.report_.step)) {}
  ~Stall() { saver.report_.stall_seconds += Tracer::SecondsSince(began); }

  Saver& saver;
  DiskWatch::Wait disk;
  int64_t began = Tracer::Now();
};

Saver::Saver(SaverOptions options) : o_(std::move(options)), began_ns_(Tracer::Now()) {}

Saver::~Saver() {
  const Stall stall(*this);
  save_.reset();
}

SaveOptions Saver::HowToSave() {
  const TrainConfig::Checkpoint& config = o_.session->config().checkpoint;
  SaveOptions options{.max_file_bytes = config.max_file_bytes, .hook = o_.hook};
  if (config.keep > 0) {
    options.keep = {.keep_last = static_cast<int>(config.keep),
                    .keep_every = config.keep_every_steps};
  }
  if (o_.disk == nullptr) return options;
  options.hook = [disk = o_.disk, then = o_.hook](const FileOp& op) {
    disk->Operation(Cat(FileOpName(op.kind), " ", op.path));
    return then ? then(op) : absl::OkStatus();
  };
  options.idle = [disk = o_.disk] { disk->Idle(); };
  return options;
}

StagingMemory Saver::Staging() {
  Session& s = *o_.session;
  return {.allocate =
              [&s](int64_t bytes) {
                return s.arena().AllocateFar(MemoryClass::kStaging, "rows of a save", bytes);
              },
          .copy = [&s](std::span<const StagingMemory::Copy> copies) -> absl::Status {
            for (const StagingMemory::Copy& c : copies) {
              s.backend().kernels->copy(s.compute(), {.src = c.from, .dst = c.to});
            }
            return s.compute().Synchronize();
          }};
}

absl::Status Saver::BeforeCommit(const ActiveSet& set) {
  if (save_ == nullptr) return absl::OkStatus();
  const Stall stall(*this);
  return save_->BeforeCommit(set);
}

absl::Status Saver::BeforePhase() {
  if (save_ == nullptr || ++phases_ < 2) return absl::OkStatus();
  return Await(AwaitedBy::kNewPhase);
}

absl::Status Saver::Await(AwaitedBy who) {
  if (save_ == nullptr) return absl::OkStatus();
  const double before = report_.stall_seconds;
  {
    const Stall stall(*this);
    RETURN_IF_ERROR(save_->Finish());
  }
  if (who == AwaitedBy::kNextSave) report_.waited_seconds = report_.stall_seconds - before;
  return Report(save_->outcome());
}

absl::Status Saver::Save(TrainerState trainer, std::vector<StateSlice> states, SaveMode mode,
                         int64_t since_ns) {
  CHECK(save_ == nullptr);
  report_ = {.step = trainer.step,
             .stall_seconds = Tracer::SecondsSince(since_ns),
             .interval_seconds = static_cast<double>(since_ns - began_ns_) * 1e-9};
  began_ns_ = since_ns;
  phases_ = 0;
  Session& s = *o_.session;
  absl::StatusOr<CheckpointInfo> outcome;
  {
    const Stall stall(*this);
    RETURN_IF_ERROR(s.compute().Synchronize());
    // Rows are read on the save's own thread, in no order with training's work.
    OwnedWeights weights = s.counted_weights();
    if (copies_ == nullptr) {
      copies_ = s.backend().device.new_compute_stream("save", s.compute().pool(), s.group().size());
    }
    weights.access.stream = copies_.get();
    ASSIGN_OR_RETURN(std::unique_ptr<CheckpointSave> save,
                     CheckpointSave::Begin(o_.run_folder,
                                           {.weights = std::move(weights),
                                            .states = std::move(states),
                                            .trainer = std::move(trainer),
                                            .config_json = LlamaConfigJson(s.model().config()),
                                            .tokenizer_files = o_.tokenizer_files},
                                           &s.control(), HowToSave()));
    if (mode == SaveMode::kBackground) {
      ASSIGN_OR_RETURN(save_,
                       BackgroundSave::Start(std::move(save), Staging(), s.compute().pool()));
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(save->Finish());
    outcome = save->outcome();
  }
  return Report(outcome);
}

absl::Status Saver::Advance() {
  if (save_ == nullptr) return absl::OkStatus();
  bool more = false;
  {
    const Stall stall(*this);
    ASSIGN_OR_RETURN(more, save_->Advance());
  }
  return more ? absl::OkStatus() : Report(save_->outcome());
}

absl::Status Saver::Report(const absl::StatusOr<CheckpointInfo>& outcome) {
  last_ = outcome.status();
  report_.status = last_;
  if (outcome.ok()) {
    report_.info = *outcome;
    announced_ = outcome->step;
  }
  report_.announced = announced_;
  report_.seconds = Tracer::SecondsSince(began_ns_);
  if (save_ != nullptr) report_.staged_bytes = save_->staged_bytes();
  save_.reset();
  o_.session->arena().ReleaseFar();
  const DiskWatch::Wait wait(o_.disk, "metrics");
  return o_.on_save ? o_.on_save(report_) : absl::OkStatus();
}

}  // namespace blockstep
