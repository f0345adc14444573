// CHECK: for our own bugs only; prints the condition, both values and the place, then aborts.
// Whatever the world can cause (files, peers, memory, configuration) is an absl::Status instead.
#pragma once

#include <sstream>
#include <string>

namespace blockstep::internal {

[[noreturn]] void CheckFailed(const char* file, int line, const std::string& what);

template <typename A, typename B>
[[noreturn]] void CheckOpFailed(const char* file, int line, const char* text, const A& a,
                                const B& b) {
  std::ostringstream out;
  out << text << " (" << a << " vs " << b << ")";
  CheckFailed(file, line, out.str());
}

}  // namespace blockstep::internal

#define CHECK(condition)                                                  \
  do {                                                                    \
    if (!(condition)) [[unlikely]]                                        \
      ::blockstep::internal::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)

#define BLOCKSTEP_CHECK_OP(op, a, b)                                                       \
  do {                                                                                     \
    const auto& check_a = (a);                                                             \
    const auto& check_b = (b);                                                             \
    if (!(check_a op check_b)) [[unlikely]]                                                \
      ::blockstep::internal::CheckOpFailed(__FILE__, __LINE__, #a " " #op " " #b, check_a, \
                                           check_b);                                       \
  } while (false)

#define CHECK_EQ(a, b) BLOCKSTEP_CHECK_OP(==, a, b)
#define CHECK_NE(a, b) BLOCKSTEP_CHECK_OP(!=, a, b)
#define CHECK_LE(a, b) BLOCKSTEP_CHECK_OP(<=, a, b)
#define CHECK_LT(a, b) BLOCKSTEP_CHECK_OP(<, a, b)
#define CHECK_GE(a, b) BLOCKSTEP_CHECK_OP(>=, a, b)
#define CHECK_GT(a, b) BLOCKSTEP_CHECK_OP(>, a, b)
// For a Status that only a bug of ours can make non-OK.
#define CHECK_OK(expr)                                                                            \
  do {                                                                                            \
    const auto& check_status = (expr);                                                            \
    if (!check_status.ok()) [[unlikely]]                                                          \
      ::blockstep::internal::CheckFailed(                                                         \
          __FILE__, __LINE__,                                                                     \
          std::string(#expr ": ") + std::string(::blockstep::internal::MessageOf(check_status))); \
  } while (false)

namespace blockstep::internal {
template <typename S>
std::string MessageOf(const S& status) {
  if constexpr (requires { status.status(); }) {
    return status.status().ToString();
  } else {
    return status.ToString();
  }
}
}  // namespace blockstep::internal
