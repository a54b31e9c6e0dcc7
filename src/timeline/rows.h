// The bars of a picture: everything that took time, by beginning, never more than `most`.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "timeline/analysis.h"

namespace runnel::timeline {

enum class Lane : uint8_t { kCall, kClient, kNode, kStep, kFetch, kRead };
inline constexpr size_t kLanes = 6;
// "containerd's calls", …
const char* to_string(Lane lane);

struct Row {
  Lane lane = Lane::kRead;
  Us begin = 0;
  Us end = 0;
  std::string label;            // printable
  std::string detail;           // printable: bytes and rate, status, error
  std::vector<Segment> phases;  // in order; gaps are moments at which nothing of it waited
  size_t merged = 1;            // how many things it stands for
};

// Everything in [line.begin, line.end], by beginning. When that are more than `most` (which is at
// least 40), neighbours of a lane become one row, but for the few that took longest.
std::vector<Row> rows_of(const Events& events, const Timeline& line, size_t most);

// "1.5 MiB".
std::string amount(uint64_t bytes);
// "12.3 ms", "1.23 s".
std::string time_text(Us time);

}  // namespace runnel::timeline
