// A start as a picture: one file that needs no other, for light and dark screens.
#pragma once

#include <string>

#include "timeline/analysis.h"

namespace runnel::timeline {

// At most this many bars; neighbours are merged beyond it, so the size has a bound whatever
// happened.
inline constexpr size_t kPictureRows = 300;

std::string svg_of(const Events& events, const Timeline& line);

// The picture in a page in which the wheel zooms, dragging moves, and a double click goes back.
std::string html_of(const Events& events, const Timeline& line);

}  // namespace runnel::timeline
