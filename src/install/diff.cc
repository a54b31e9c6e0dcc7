#include "install/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace runnel::install {

namespace {

constexpr size_t kContext = 3;
constexpr size_t kMaxCells = 16 << 20;  // of the table below

struct Line {
  char sign;  // ' ', '-' or '+'
  std::string text;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t start = 0; start < text.size();) {
    const auto end = text.find('\n', start);
    if (end == std::string::npos) {
      lines.push_back(text.substr(start) + "\n\\ No newline at end of file");
      break;
    }
    lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

// The longest common subsequence, by the usual table of lengths from the end.
std::vector<Line> compare(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const size_t width = b.size() + 1;
  const bool small = (a.size() + 1) * width <= kMaxCells;
  std::vector<uint32_t> common(small ? (a.size() + 1) * width : 0);
  if (small) {
    for (size_t i = a.size(); i-- > 0;) {
      for (size_t j = b.size(); j-- > 0;) {
        common[i * width + j] =
            a[i] == b[j] ? common[(i + 1) * width + j + 1] + 1
                         : std::max(common[(i + 1) * width + j], common[i * width + j + 1]);
      }
    }
  }
  std::vector<Line> lines;
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() || j < b.size()) {
    if (small && i < a.size() && j < b.size() && a[i] == b[j]) {
      lines.push_back({' ', a[i++]});
      ++j;
    } else if (i < a.size() && (j == b.size() || !small ||
                                common[(i + 1) * width + j] >= common[i * width + j + 1])) {
      lines.push_back({'-', a[i++]});
    } else {
      lines.push_back({'+', b[j++]});
    }
  }
  return lines;
}

// The lines that are changed or near a change, as ranges of `lines`.
std::vector<std::pair<size_t, size_t>> hunks(const std::vector<Line>& lines) {
  std::vector<std::pair<size_t, size_t>> found;
  for (size_t at = 0; at < lines.size(); ++at) {
    if (lines[at].sign == ' ') continue;
    const size_t begin = at > kContext ? at - kContext : 0;
    const size_t end = std::min(lines.size(), at + kContext + 1);
    if (!found.empty() && begin <= found.back().second) {
      found.back().second = end;
    } else {
      found.emplace_back(begin, end);
    }
  }
  return found;
}

size_t count(const std::vector<Line>& lines, size_t begin, size_t end, char other) {
  return static_cast<size_t>(std::count_if(lines.begin() + static_cast<ptrdiff_t>(begin),
                                           lines.begin() + static_cast<ptrdiff_t>(end),
                                           [&](const Line& line) { return line.sign != other; }));
}

}  // namespace

std::string unified_diff(const std::string& path, bool existed, const std::string& before,
                         const std::string& after) {
  if (existed && before == after) return {};
  const auto lines = compare(lines_of(before), lines_of(after));
  auto text = fmt::format("--- {}\n+++ {}\n", existed ? path : "/dev/null", path);
  for (const auto& [begin, end] : hunks(lines)) {
    const size_t old_count = count(lines, begin, end, '+');
    const size_t new_count = count(lines, begin, end, '-');
    const size_t old_first = count(lines, 0, begin, '+') + (old_count == 0 ? 0 : 1);
    const size_t new_first = count(lines, 0, begin, '-') + (new_count == 0 ? 0 : 1);
    text += fmt::format("@@ -{},{} +{},{} @@\n", old_first, old_count, new_first, new_count);
    for (size_t i = begin; i < end; ++i) text += lines[i].sign + lines[i].text + "\n";
  }
  return text;
}

}  // namespace runnel::install
