// Everything that is wrong with fields that people set, so that all of it is said at once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace blockstep {

struct Fault {
  std::string field;  // "patience", "phase[1].steps"; empty: of none
  std::string text;   // "expected >= 1, got 0"
};

class Faults {
 public:
  void Add(std::string field, std::string text) {
    list_.push_back({std::move(field), std::move(text)});
  }
  template <typename T>
  void Require(bool fine, const std::string& field, const T& found, std::string_view wanted) {
    if (!fine) Add(field, Cat("expected ", wanted, ", got ", found));
  }
  template <typename T>
  void AtLeast(const std::string& field, T value, T least) {
    Require(value >= least, field, value, Cat(">= ", least));
  }
  template <typename T>
  void AtMost(const std::string& field, T value, T most) {
    Require(value <= most, field, value, Cat("<= ", most));
  }

  const std::vector<Fault>& list() const { return list_; }
  // INVALID_ARGUMENT: one per line, by field name; OK: there are none.
  absl::Status status() const {
    std::string text;
    for (const Fault& f : list_) {
      text += Cat(text.empty() ? "" : "\n", f.field, f.field.empty() ? "" : ": ", f.text);
    }
    return list_.empty() ? absl::OkStatus() : absl::InvalidArgumentError(text);
  }

 private:
  std::vector<Fault> list_;
};

}  // namespace blockstep
