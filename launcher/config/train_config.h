// The configuration of a run as plain structs: what the libraries get. proto/config.proto documents
// every field and is its text form; units and defaults are the same (a test holds them equal).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/slot_order.h"
#include "core/tensor/tensor_table.h"
#include "dist/grad_reducer.h"
#include "launcher/config/config_error.h"
#include "model/llama_config.h"
#include "model/save_plan.h"
#include "optim/policy/policy.h"
#include "optim/rules/rules.h"

namespace blockstep {

enum class Precision : uint8_t { kFp32, kBf16 };
enum class AccumulateChoice : uint8_t { kAuto, kLocal, kSharded };  // kAuto: by policy
enum class OptimizerKind : uint8_t { kAdamW };
enum class ScheduleShape : uint8_t { kConstant, kLinear, kCosine };
enum class PlacementMode : uint8_t { kSharded, kPinned, kBudget, kNode };
enum class BackendKind : uint8_t { kCpu, kNull, kGuarded, kCuda };
enum class TransportKind : uint8_t { kMpi, kLocal };

// Rows of a tensor by name; the model that turns names into indices is not known here.
struct NamedRows {
  std::string tensor;
  Range rows;  // end 0: to the last row
  double lr_scale = 1.0;
  std::string where;  // "run.txt:3:7", for errors; empty: not from a file
};
struct NamedPhase {
  int64_t steps = 1;
  std::vector<NamedRows> entries;
  std::string where;
};

struct TrainConfig {
  struct Model {
    std::string path, config, preset;  // exactly one
    int64_t vocab = 0;
    uint64_t init_seed = 0;
  } model;
  struct Data {
    std::vector<std::string> train, val;
    int64_t tokens = 256;  // T
    SlotOrderKind order = SlotOrderKind::kShuffled;
    bool document_mask = false;
  } data;
  struct Batch {
    int64_t slots = 8;        // S
    int64_t micro_slots = 1;  // B
  } batch;
  struct Train {
    int64_t steps = 1000;
    uint64_t seed = 0;
    Precision precision = Precision::kFp32;
    Numerics numerics = Numerics::kFast;
    Recompute recompute = Recompute::kNone;
    int64_t loss_chunk = 256;  // tokens
    double clip_norm = 1.0;    // 0: off
    int64_t max_bad_steps = 3;
    AccumulateChoice accumulate = AccumulateChoice::kAuto;
  } train;
  struct Schedule {
    ScheduleShape shape = ScheduleShape::kCosine;
    int64_t warmup_steps = 0;
    double floor = 0.1;  // share of lr
  };
  struct Optimizer {
    OptimizerKind rule = OptimizerKind::kAdamW;
    double lr = 0.001, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
    DecayOn weight_decay_on = DecayOn::kMatrices;
    Schedule schedule;
  } optimizer;
  // name .. sweep_elements as written; seed, total_steps, groups, lag and script are filled by
  // ResolvePolicy.
  PolicyConfig policy;
  std::vector<NamedPhase> script;
  struct Placement {
    PlacementMode mode = PlacementMode::kSharded;
    int64_t pin_budget_bytes = 0;
    int64_t ranks_per_group = 0;  // of mode node; 0: those of a machine
  } placement;
  struct Runtime {
    BackendKind backend = BackendKind::kCpu;
    int64_t threads = 0;  // of a rank; 0: affinity and quota
    TransportKind transport = TransportKind::kMpi;
    int64_t local_ranks = 1;
    double comm_timeout_s = 300;
    double compute_timeout_s = 1800;
    std::string trace;
    std::string digests;
    int64_t memory_limit_bytes = 0;  // of a process; 0: what there is
  } runtime;
  struct Coordinator {
    std::string address;  // empty: embedded in rank 0
    double grace_s = 60;
    int64_t lag = 1;
    std::string tls_ca, tls_cert, tls_key;
    bool insecure = false;
    std::string http_address;
    double keepalive_s = 5;
    double lease_s = 15;
  } coordinator;
  struct Checkpoint {
    int64_t every_steps = 0;
    int64_t keep = 2;
    int64_t keep_every_steps = 0;
    int64_t max_file_bytes = int64_t{5} << 30;
    double disk_timeout_s = 240;
    bool background = true;
  } checkpoint;
  struct Eval {
    int64_t every_steps = 0;
    int64_t slots = 0;
  } eval;
  struct Log {
    int64_t every_steps = 1;
    bool tensorboard = false;
    bool data_ledger = false;
  } log;
};

// Reads `file` (empty: defaults only), then `overrides` ("train.steps=100",
// "data.train=a.bin,b.bin" or one after the other), then checks fields against each other. The
// error lists everything that is wrong, a line each: `file:line:col: field: expected, got`; of a
// script, too, what does not fit the model, where there is one. `file` is a regular one.
absl::StatusOr<TrainConfig> LoadTrainConfig(const std::string& file,
                                            const std::vector<std::string>& overrides = {});
// The same from text; `where` stands for the file name.
absl::StatusOr<TrainConfig> ParseTrainConfig(std::string_view text, std::string_view where,
                                             const std::vector<std::string>& overrides = {});

// Every field with its value, in the form that LoadTrainConfig reads.
std::string PrintTrainConfig(const TrainConfig& config);
// The same with files by absolute paths, as a run folder keeps it: whoever continues the run may
// stand in another folder. Names are no maths: no hash sees the difference.
std::string RunConfigText(const TrainConfig& config);

// "train.steps: 1000" a line, of every field that changes the maths by its value; what the SOURCE
// fields lead to is in ModelText and InputsText (launcher/run/inputs.h).
std::string MathsText(const TrainConfig& config);
// The version of that text's words. A field that comes later says what its absence meant
// (absent_means in proto/config.proto) and needs none; a line that is worded anew does.
inline constexpr int kMathsVersion = 2;
// A maths text of an earlier version as this one would have written it.
std::string UpgradeMathsText(const std::string& text, int version);
// Hash64 of ModelText and MathsText as 16 hex digits: ranks and coordinator compare it. No file is
// in it, as a coordinator may run where no data are.
std::string ConfigHash(const TrainConfig& config, const LlamaConfig& model);
std::string HashOfText(std::string_view text);  // as ConfigHash writes it

// The same of every field, whatever its kind, that must be equal on all ranks. Left out: where
// inputs lie (SOURCE) and what proto/config.proto marks as per_rank, which is threads, memory
// limit, trace and TLS files.
std::string SharedText(const TrainConfig& config);

// The model a configuration names: folder, config.json or preset.
absl::StatusOr<LlamaConfig> ModelOf(const TrainConfig& config);

// PolicyConfig as the model makes it: names of the script become indices; seed, step count and lag
// are the run's. The error lists every phase and entry that does not fit the model, with its
// location (file:line:column).
absl::StatusOr<PolicyConfig> ResolvePolicy(const TrainConfig& config, const TensorTable& table);
// The same list, without what Validate says of a script by itself.
std::vector<ConfigError> ScriptErrors(const TrainConfig& config, const TensorTable& table);

}  // namespace blockstep
