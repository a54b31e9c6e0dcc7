// How a streamed image is mounted.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace runnel::engine {

enum class Way : uint8_t {
  kAuto,       // the first of the others that passes its trial
  kErofsFile,  // EROFS on files, without block devices (Linux 6.12)
  kErofsLoop,  // EROFS on loop devices
  kFuse,       // no EROFS: the worker serves the tree itself
};

// "auto", "erofs-file", "erofs-loop", "fuse", as --engine takes them.
const char* to_string(Way way);
// kInvalid for any other text.
Result<Way> parse_way(std::string_view text);

}  // namespace runnel::engine
