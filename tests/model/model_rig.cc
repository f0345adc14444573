#include "tests/model/model_rig.h"

#include <cstring>

#include "core/base/philox.h"

namespace blockstep::testing {
namespace {

Backend MakeBackend(const RigOptions& options) {
  const auto found = FindBackend(options.backend);
  CHECK_OK(found);
  Backend backend = **found;
  if (options.kernels != nullptr) backend.kernels = options.kernels;
  return backend;
}

Arena MakeArena(const Backend& backend) {
  auto arena = Arena::Reserve(backend, int64_t{256} << 20);
  CHECK_OK(arena);
  return std::move(arena).value();
}

template <typename T>
T* CarveData(Arena& arena, const char* name, int64_t count) {
  auto data = arena.Allocate(MemoryClass::kData, name, count * static_cast<int64_t>(sizeof(T)));
  CHECK_OK(data);
  return static_cast<T*>(*data);
}

}  // namespace

ModelRig::ModelRig(const LlamaConfig& config, const RigOptions& rig_options)
    : options(rig_options),
      backend(MakeBackend(options)),
      pool(options.threads),
      arena(MakeArena(backend)),
      compute(backend.device.new_compute_stream("compute", &pool, 1)),
      mark_(arena.GetMark()) {
  auto created = Llama::Create(
      config,
      {.backend = &backend, .recompute = options.recompute, .loss_chunk = options.loss_chunk});
  CHECK_OK(created);
  llama = std::move(created).value();
  units = std::make_unique<SimpleUnits>(table(), backend, arena);
  batch.inputs = CarveData<int32_t>(arena, "inputs", n());
  batch.targets = CarveData<int32_t>(arena, "targets", n());
  batch.slots = options.shape.slots;
  loss_ = CarveData<float>(arena, "loss", n());
  CHECK_OK(llama->Reserve(options.shape, *compute, arena));
  CHECK_OK(compute->Synchronize());
  mark_ = arena.GetMark();
}

void ModelRig::FillRandom(uint64_t seed) {
  for (size_t i = 0; i < table().tensors.size(); ++i) {
    const TensorInfo& t = table().tensors[i];
    CHECK_OK(access().Fill(
        units->Owned(static_cast<int>(i)), [&](const TensorView& rows, int64_t first) {
          for (int64_t e = 0; e < rows.size(); ++e) {
            const double z = NormalPair(
                Draw(seed, RandomUse::kTest, static_cast<uint32_t>(i), first * t.cols + e))[0];
            rows.f32()[e] = static_cast<float>(t.vector ? 1.0 + 0.2 * z : 0.1 * z);
          }
          return absl::OkStatus();
        }));
  }
}

void ModelRig::LoadWeights(const std::string& folder) {
  auto files = SafetensorsFolder::Open(folder);
  CHECK_OK(files);
  CHECK_OK(files->Matches(table()));
  for (size_t i = 0; i < table().tensors.size(); ++i) {
    const TensorInfo& t = table().tensors[i];
    CHECK_OK(access().Fill(units->Owned(static_cast<int>(i)),
                           [&](const TensorView& rows, int64_t first) {
                             return files->ReadRows(t.name, {first, first + rows.rows}, rows.f32());
                           }));
  }
}

void ModelRig::SetBatch(const std::vector<int32_t>& new_inputs,
                        const std::vector<int32_t>& new_targets) {
  inputs = new_inputs;
  targets = new_targets;
  Write(inputs, batch.inputs);
  Write(targets, batch.targets);
}

void ModelRig::SetDocuments(const std::vector<int32_t>& first_key) {
  batch.first_key = CarveData<int32_t>(arena, "first keys", n());
  Write(first_key, batch.first_key);
  mark_ = arena.GetMark();
}

void ModelRig::RandomBatch(uint64_t seed) {
  std::vector<int32_t> ids(n()), next(n());
  for (int64_t i = 0; i < n(); ++i) {
    const PhiloxBlock words = Draw(seed, RandomUse::kTest, 1u << 20, i);
    ids[i] = static_cast<int32_t>(words[0] % llama->config().vocab);
    next[i] = words[2] % 8 == 0 ? -1 : static_cast<int32_t>(words[1] % llama->config().vocab);
  }
  SetBatch(ids, next);
}

Gradients ModelRig::Run(const ActiveSet& set, float grad_scale, int64_t slots) {
  CHECK_OK(compute->Synchronize());
  arena.ReleaseTo(mark_);
  PoisonFreeMemory();
  CHECK_OK(llama->BeginPhase(set, arena));
  use = arena.use();
  SimpleSink sink(set, table(), arena);
  sink.Begin(Accumulate::kAssign);
  MicroBatch micro = batch;
  if (slots >= 0) micro.slots = slots;
  units->log.clear();
  CHECK_OK(llama->ForwardBackward(micro, grad_scale, *units, sink, *compute, loss_));
  CHECK_OK(compute->Synchronize());
  CHECK(sink.all_done());
  CHECK(units->idle());
  done_order = sink.done_order;
  Gradients result;
  result.loss = Read(TensorView::Of(loss_, DType::kF32, 1, n()));
  for (size_t i = 0; i < set.entries.size(); ++i) {
    result.dw.push_back(Read(sink.dw(static_cast<int>(i))));
  }
  return result;
}

// Whatever a phase carves starts as NaN, so that reading what nobody wrote shows.
void ModelRig::PoisonFreeMemory() {
  if (!backend.device.real_memory) return;
  const TensorView free = Carve(arena, MemoryClass::kData, "poison", 512, 4096);
  if (backend.device.poison == nullptr) {  // else it happens at the release
    CHECK_OK(access().Fill(free, [](const TensorView& rows, int64_t) {
      std::memset(rows.data, 0xff, static_cast<size_t>(rows.bytes()));
      return absl::OkStatus();
    }));
  }
  arena.ReleaseTo(mark_);
}

std::vector<float> ModelRig::Loss() {
  CHECK_OK(llama->ForwardLoss(batch, *units, *compute, loss_));
  CHECK_OK(compute->Synchronize());
  CHECK(units->idle());
  return Read(TensorView::Of(loss_, DType::kF32, 1, n()));
}

std::vector<float> ModelRig::Logits() {
  CHECK_OK(compute->Synchronize());
  arena.ReleaseTo(mark_);
  const TensorView logits = Carve(arena, MemoryClass::kData, "logits", n(), llama->config().vocab);
  CHECK_OK(llama->ForwardLogits(batch, *units, *compute, logits));
  CHECK_OK(compute->Synchronize());
  return Read(logits);
}

std::vector<float> ModelRig::Read(const TensorView& view) {
  if (!backend.device.real_memory) return {};
  std::vector<char> buffer;
  const auto data = access().Read(view, buffer);
  CHECK_OK(data);
  const auto* values = reinterpret_cast<const float*>(*data);
  return {values, values + view.size()};
}

void ModelRig::Write(const std::vector<int32_t>& values, const int32_t* device) {
  CHECK_EQ(static_cast<int64_t>(values.size()), n());
  const TensorView view = TensorView::Of(const_cast<int32_t*>(device), DType::kI32, 1, n());
  CHECK_OK(access().Fill(view, [&](const TensorView& rows, int64_t) {
    std::memcpy(rows.data, values.data(), static_cast<size_t>(rows.bytes()));
    return absl::OkStatus();
  }));
}

ActiveSet Everything(const TensorTable& table) {
  ActiveSet set;
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    set.entries.push_back(WholeTensor(table, static_cast<int>(i)));
  }
  return set;
}

ActiveSet Only(const TensorTable& table, int tensor) {
  return {.entries = {WholeTensor(table, tensor)}};
}

LlamaConfig TinyConfig(int64_t layers) {
  return {.vocab = 200,
          .hidden = 72,
          .intermediate = 140,
          .layers = layers,
          .heads = 6,
          .kv_heads = 3,
          .head_dim = 24,
          .max_positions = 64};
}

LlamaConfig TinyTiedConfig() {
  LlamaConfig config = TinyConfig(2);
  config.tied = true;
  return config;
}

}  // namespace blockstep::testing
