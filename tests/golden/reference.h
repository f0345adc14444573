// What tests/golden/generate.py and generate_steps.py wrote for one case, as tests read it.
#pragma once

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "core/base/check.h"
#include "core/base/status.h"
#include "core/data/safetensors.h"

namespace blockstep::testing {

constexpr double kGoldenBound = 1e-5;  // of ||ours - theirs|| / ||theirs||, per tensor

inline double Distance(const std::vector<float>& ours, const std::vector<float>& theirs) {
  CHECK_EQ(ours.size(), theirs.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < theirs.size(); ++i) {
    difference += std::pow(static_cast<double>(ours[i]) - theirs[i], 2);
    norm += std::pow(static_cast<double>(theirs[i]), 2);
  }
  return std::sqrt(difference / norm);
}

class GoldenReference {
 public:
  explicit GoldenReference(const std::string& path) : file_(Open(path)) {}

  std::vector<float> Floats(const std::string& name) const {
    const SafetensorsEntry* entry = file_.Find(name);
    CHECK(entry != nullptr);
    std::vector<float> values(entry->bytes / 4);
    CHECK_OK(file_.ReadRows(name, {0, entry->rows()}, values.data()));
    return values;
  }
  // Of "inputs" or "targets": (slots, tokens) of one step.
  std::vector<int32_t> Batch(const std::string& name, int64_t step) const {
    const SafetensorsEntry* entry = file_.Find(name);
    CHECK(entry != nullptr);
    CHECK_EQ(entry->dtype, "I32");
    std::vector<int32_t> values(entry->cols());
    std::ifstream in(file_.path(), std::ios::binary);
    in.seekg(entry->offset + step * entry->row_bytes());
    in.read(reinterpret_cast<char*>(values.data()), entry->row_bytes());
    CHECK(in.good());
    return values;
  }
  int64_t steps() const { return file_.Find("inputs")->shape[0]; }
  int64_t slots() const { return file_.Find("inputs")->shape[1]; }
  int64_t tokens() const { return file_.Find("inputs")->shape[2]; }

 private:
  static SafetensorsFile Open(const std::string& path) {
    auto file = SafetensorsFile::Open(path);
    CHECK_OK(file);
    return std::move(file).value();
  }
  SafetensorsFile file_;
};

}  // namespace blockstep::testing
