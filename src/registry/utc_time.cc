#include "registry/utc_time.h"

#include <fmt/chrono.h>

namespace runnel::registry {

std::string to_utc_text(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)));
}

}  // namespace runnel::registry
