// A client of the container runtime interface's image service, as kubelet is one.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::snapshot {

// Asks the runtime behind `socket` (containerd's) to pull the image, and waits for it. Returns the
// image's ID. kUnavailable when nobody answers or the time is over; else the runtime's own words.
Result<std::string> pull_image(const std::string& socket, const std::string& image,
                               Duration timeout);

}  // namespace runnel::snapshot
