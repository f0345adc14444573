// Token files written byte by byte, so that the tests do not lean on the code they check.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace blockstep {

inline std::string TempPath(const std::string& name) {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  return ::testing::TempDir() + "blockstep_" + info->test_suite_name() + "_" + info->name() + "_" +
         name;
}

inline std::string WriteBytes(const std::string& name, const std::string& bytes) {
  const std::string path = TempPath(name);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

inline std::string LittleEndian(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

inline std::string Ids(const std::vector<uint32_t>& ids, int bytes) {
  std::string out;
  for (const uint32_t id : ids) out += LittleEndian(id, bytes);
  return out;
}

inline std::string LlmcHeader(int32_t magic, int32_t version, int32_t count) {
  std::string out = LittleEndian(magic, 4) + LittleEndian(version, 4) + LittleEndian(count, 4);
  out.resize(1024, '\0');
  return out;
}

}  // namespace blockstep
