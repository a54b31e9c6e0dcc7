// A start for programs.
#pragma once

#include <string>

#include "timeline/analysis.h"

namespace runnel::timeline {

// {"image", "container", "begin_us", "length_us", "cut", "causes": {…}, "path": [{"begin_us",
// "length_us", "cause", "what"}], "longest": […], "idle": […], "traffic": […], "saving", "notes",
// "events"}: times after the beginning, but for those of "events", which are CLOCK_MONOTONIC's.
std::string json_of(const Events& events, const Timeline& line);

}  // namespace runnel::timeline
