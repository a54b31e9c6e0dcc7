// A start in a terminal.
#pragma once

#include <string>

#include "timeline/analysis.h"

namespace runnel::timeline {

struct TextOptions {
  bool colours = false;
  size_t rows = 60;  // bars, at most; at least 40
};

// Lines of at most 100 columns: where the time went, the longest waits, requests, and bars in order
// of time.
std::string text_of(const Events& events, const Timeline& line, const TextOptions& options);

}  // namespace runnel::timeline
