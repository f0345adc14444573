// The valid name that a mistyped one most likely meant, for error messages.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/str.h"

namespace blockstep {

// Levenshtein distance.
inline size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// The first of the closest names; "" if every one differs in more than half of the letters given,
// or if nobody mistyped that many.
inline std::string Nearest(std::string_view name, const std::vector<std::string>& known) {
  constexpr size_t kMostLetters = 200;
  std::string best;
  if (name.size() > kMostLetters) return best;
  size_t best_distance = name.size() / 2 + 1;
  for (const std::string& k : known) {
    const size_t distance = EditDistance(name, k);
    if (distance < best_distance) best = k, best_distance = distance;
  }
  return best;
}

// ", did you mean badam?" where one is close, else "".
inline std::string DidYouMean(std::string_view name, const std::vector<std::string>& known) {
  const std::string nearest = Nearest(name, known);
  return nearest.empty() ? "" : Cat(", did you mean ", nearest, "?");
}

// "full, badam, blockllm", with "; did you mean badam?" where one is close.
inline std::string KnownNames(std::string_view name, const std::vector<std::string>& known) {
  std::string text;
  for (const std::string& k : known) text += Cat(text.empty() ? "" : ", ", k);
  const std::string nearest = Nearest(name, known);
  if (!nearest.empty()) text += Cat("; did you mean ", nearest, "?");
  return text;
}

}  // namespace blockstep
