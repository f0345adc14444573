// Policy state as text: a header line with the policy's name, one line per key, "end". Doubles are
// hexadecimal, so a value that is read is the value that was written.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace blockstep {

class StateWriter {
 public:
  explicit StateWriter(std::string_view policy);
  void Ints(std::string_view key, const std::vector<int64_t>& values);
  void Doubles(std::string_view key, const std::vector<double>& values);
  std::string Finish();

 private:
  std::string text_;
};

class StateReader {
 public:
  // An error if `text` is truncated, of another policy or no state at all.
  static absl::StatusOr<StateReader> Parse(std::string_view text, std::string_view policy);
  // The values of `key`; `count` of them where count >= 0.
  absl::StatusOr<std::vector<int64_t>> Ints(const std::string& key, int64_t count = -1) const;
  absl::StatusOr<std::vector<double>> Doubles(const std::string& key, int64_t count = -1) const;
  // One value inside [low, high].
  absl::StatusOr<int64_t> Int(const std::string& key, int64_t low, int64_t high) const;

 private:
  absl::StatusOr<std::vector<std::string>> Words(const std::string& key, int64_t count) const;
  std::map<std::string, std::vector<std::string>> lines_;
};

}  // namespace blockstep
