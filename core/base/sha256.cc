#include "core/base/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "core/base/check.h"

namespace blockstep {

struct Sha256::State {
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(ctx); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  CHECK_EQ(EVP_DigestInit_ex(state_->ctx, EVP_sha256(), nullptr), 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;

void Sha256::Update(const void* data, size_t bytes) {
  CHECK_EQ(EVP_DigestUpdate(state_->ctx, data, bytes), 1);
}

std::string Sha256::Hex() {
  std::array<unsigned char, 32> digest;
  CHECK_EQ(EVP_DigestFinal_ex(state_->ctx, digest.data(), nullptr), 1);
  std::string hex;
  for (unsigned char byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

uint64_t Hash64(std::string_view text) {
  Sha256 sha;
  sha.Update(text);
  return std::stoull(sha.Hex().substr(0, 16), nullptr, 16);
}

}  // namespace blockstep
