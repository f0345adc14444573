#include "dist/staged_communicator.h"

#include <algorithm>

#include "core/base/math.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr int64_t kAlignment = 256;

int64_t Span(const std::vector<int64_t>& offsets) { return offsets.back() - offsets.front(); }

}  // namespace

StagedCommunicator::StagedCommunicator(const Backend& backend, Communicator& host, ThreadPool* pool)
    : backend_(backend),
      host_(host),
      stream_(backend.device.new_compute_stream("comm", pool,
                                                1000 + static_cast<uint64_t>(host.rank()))) {}

StagedCommunicator::StagedCommunicator(const Backend& backend, std::unique_ptr<Communicator> part,
                                       std::shared_ptr<Stream> stream)
    : backend_(backend), part_(std::move(part)), host_(*part_), stream_(std::move(stream)) {}

StagedCommunicator::~StagedCommunicator() { (void)stream_->Synchronize(); }

absl::Status StagedCommunicator::status() {
  RETURN_IF_ERROR(memory_);
  RETURN_IF_ERROR(host_.status());
  return stream_->status();
}

char* StagedCommunicator::Take(int64_t bytes) {
  for (Staging& s : staging_) {
    if (s.memory.bytes() < bytes || !s.free.done()) continue;
    taken_ = &s;
    return static_cast<char*>(s.memory.data());
  }
  absl::StatusOr<HostBuffer> memory =
      HostBuffer::Allocate(backend_, RoundUp(std::max<int64_t>(bytes, 1), int64_t{1} << 20));
  if (!memory.ok()) {
    memory_ = memory.status();
    return nullptr;
  }
  taken_ = &staging_.emplace_back(Staging{*std::move(memory), Event()});
  return static_cast<char*>(taken_->memory.data());
}

void StagedCommunicator::In(const void* device, void* host, int64_t bytes) {
  if (bytes > 0) CopyToHost(backend_, *stream_, host, device, bytes);
}

void StagedCommunicator::Out(void* device, const void* host, int64_t bytes) {
  if (bytes > 0) CopyToDevice(backend_, *stream_, device, host, bytes);
}

void StagedCommunicator::AllGather(std::vector<GatherSegment> segments, std::string what) {
  int64_t bytes = 0;
  for (const GatherSegment& s : segments) bytes += RoundUp(Span(s.offsets), kAlignment);
  char* at = Take(bytes);
  if (at == nullptr) return;
  std::vector<GatherSegment> here = segments;
  for (size_t i = 0; i < segments.size(); ++i) {
    const std::vector<int64_t>& o = segments[i].offsets;
    here[i].base = at - o.front();  // offsets count from the base, which need not be in the segment
    at += RoundUp(Span(o), kAlignment);
    In(static_cast<char*>(segments[i].base) + o[rank()],
       static_cast<char*>(here[i].base) + o[rank()], o[rank() + 1] - o[rank()]);
  }
  Begin();
  host_.AllGather(here, std::move(what));
  End();
  for (size_t i = 0; i < segments.size(); ++i) {
    const std::vector<int64_t>& o = segments[i].offsets;
    for (const Range& part : {Range{o.front(), o[rank()]}, Range{o[rank() + 1], o.back()}}) {
      Out(static_cast<char*>(segments[i].base) + part.begin,
          static_cast<const char*>(here[i].base) + part.begin, part.size());
    }
  }
  Return();
}

void StagedCommunicator::ReduceScatter(std::vector<ReduceSegment> segments, std::string what) {
  constexpr int64_t kElement = sizeof(float);
  int64_t bytes = 0;
  for (const ReduceSegment& s : segments) bytes += RoundUp(Span(s.offsets) * kElement, kAlignment);
  char* at = Take(bytes);
  if (at == nullptr) return;
  std::vector<ReduceSegment> here = segments;
  for (size_t i = 0; i < segments.size(); ++i) {
    const std::vector<int64_t>& o = segments[i].offsets;
    here[i].in = reinterpret_cast<float*>(at) - o.front();
    here[i].out = here[i].in + o[rank()];
    at += RoundUp(Span(o) * kElement, kAlignment);
    In(segments[i].in + o.front(), here[i].in + o.front(), Span(o) * kElement);
  }
  Begin();
  host_.ReduceScatter(here, std::move(what));
  End();
  for (size_t i = 0; i < segments.size(); ++i) {
    const std::vector<int64_t>& o = segments[i].offsets;
    Out(segments[i].out, here[i].out, (o[rank() + 1] - o[rank()]) * kElement);
  }
  Return();
}

void StagedCommunicator::Broadcast(void* data, int64_t bytes, int root, std::string what) {
  char* here = Take(bytes);
  if (here == nullptr) return;
  if (rank() == root) In(data, here, bytes);
  Begin();
  host_.Broadcast(here, bytes, root, std::move(what));
  End();
  if (rank() != root) Out(data, here, bytes);
  Return();
}

void StagedCommunicator::Exchange(std::vector<PeerSend> sends, std::vector<PeerRecv> recvs,
                                  std::string what) {
  int64_t bytes = 0;
  for (const PeerSend& s : sends) bytes += RoundUp(s.bytes, kAlignment);
  for (const PeerRecv& r : recvs) bytes += RoundUp(r.bytes, kAlignment);
  char* at = Take(bytes);
  if (at == nullptr) return;
  std::vector<PeerSend> out = std::move(sends);
  std::vector<PeerRecv> in = recvs;
  for (PeerSend& s : out) {
    In(s.data, at, s.bytes);
    s.data = at;
    at += RoundUp(s.bytes, kAlignment);
  }
  for (PeerRecv& r : in) {
    r.data = at;
    at += RoundUp(r.bytes, kAlignment);
  }
  Begin();
  host_.Exchange(std::move(out), in, std::move(what));
  End();
  for (size_t i = 0; i < recvs.size(); ++i) Out(recvs[i].data, in[i].data, recvs[i].bytes);
  Return();
}

void StagedCommunicator::Barrier(std::string what) {
  Begin();
  host_.Barrier(std::move(what));
  End();
}

absl::StatusOr<std::unique_ptr<Communicator>> StagedCommunicator::Split(
    const std::vector<int>& colors) {
  ASSIGN_OR_RETURN(std::unique_ptr<Communicator> part, host_.Split(colors));
  return std::unique_ptr<Communicator>(new StagedCommunicator(backend_, std::move(part), stream_));
}

absl::StatusOr<void*> StagedCommunicator::AllocateBuffer(int64_t bytes) {
  return Unimplemented("backend ", backend_.name, ": asked for ", bytes,
                       " bytes of communication memory of its own; it sends from the device's");
}

}  // namespace blockstep
