// Names of files and registries in pictures: they may hold any byte.
#pragma once

#include <string>
#include <string_view>

namespace runnel::timeline {

// In ASCII, on one line: other bytes and control characters become \xNN, so that doing it
// again changes nothing. Longer ones lose
// their middle to "...": the ends tell more.
std::string printable(std::string_view text, size_t most = 200);

// For XML and HTML, between tags and in quoted attributes. Expects printable text.
std::string markup(std::string_view text);

}  // namespace runnel::timeline
