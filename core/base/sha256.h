// SHA-256 over a stream of bytes (OpenSSL), as lowercase hex.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace blockstep {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;

  void Update(const void* data, size_t bytes);
  void Update(std::string_view text) { Update(text.data(), text.size()); }
  std::string Hex();  // ends the stream: call once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// First 64 bits of the SHA-256 of `text`: directive and config hashes.
uint64_t Hash64(std::string_view text);

}  // namespace blockstep
