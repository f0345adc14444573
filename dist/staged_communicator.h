// `data` of a device whose memory the transport cannot reach: what a call sends is copied to host
// memory, moved there by a communicator of the host, and what it brings is copied back. Steps,
// bytes and the order of sums are those of that communicator. Copies run on a stream of the device,
// which is stream(); the two streams wait for each other by events, so nobody on the host waits.
// Host memory: for each call under way as many bytes as its segments span; kept for later calls.
#pragma once

#include <list>
#include <memory>

#include "core/device/host_buffer.h"
#include "dist/communicator.h"

namespace blockstep {

class StagedCommunicator : public Communicator {
 public:
  // `host` must outlive it; nobody else calls it meanwhile.
  StagedCommunicator(const Backend& backend, Communicator& host, ThreadPool* pool);
  ~StagedCommunicator() override;

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  Stream& stream() override { return *stream_; }
  absl::Status status() override;

  void AllGather(std::vector<GatherSegment> segments, std::string what) override;
  void ReduceScatter(std::vector<ReduceSegment> segments, std::string what) override;
  void Broadcast(void* data, int64_t bytes, int root, std::string what) override;
  void Exchange(std::vector<PeerSend> sends, std::vector<PeerRecv> recvs,
                std::string what) override;
  void Barrier(std::string what) override;
  absl::StatusOr<std::unique_ptr<Communicator>> Split(const std::vector<int>& colors) override;
  // UNIMPLEMENTED: what it sends from is the device's own memory.
  absl::StatusOr<void*> AllocateBuffer(int64_t bytes) override;

  void Abandon(const absl::Status& why) override { host_.Abandon(why); }
  CommBytes bytes_sent() const override { return host_.bytes_sent(); }
  CommProgress progress() const override { return host_.progress(); }

 private:
  struct Staging {
    HostBuffer memory;
    Event free;  // the last call that used it has ended
  };
  StagedCommunicator(const Backend& backend, std::unique_ptr<Communicator> part,
                     std::shared_ptr<Stream> stream);
  // At least `bytes`, used until Return(). Null where there are none: status() says so, and the
  // call does not take place.
  char* Take(int64_t bytes);
  void Return() { taken_->free = stream_->Record(); }
  // Copies on stream().
  void In(const void* device, void* host, int64_t bytes);
  void Out(void* device, const void* host, int64_t bytes);
  // Around the host's call: it starts after the copies before and ends before the copies after.
  void Begin() { host_.stream().Wait(stream_->Record()); }
  void End() { stream_->Wait(host_.stream().Record()); }

  const Backend& backend_;
  std::unique_ptr<Communicator> part_;  // (optional) owner of host_: the part of a split
  Communicator& host_;
  std::shared_ptr<Stream> stream_;
  absl::Status memory_;
  std::list<Staging> staging_;
  Staging* taken_ = nullptr;
};

}  // namespace blockstep
