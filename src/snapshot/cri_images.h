// A client of the container runtime interface's image service, as kubelet is one.
//
// Errors: kUnavailable when nobody answers or the time is over, kCancelled when the stop token
// asked, kUnsupported when the runtime has no such service; else the runtime's own words. Any
// thread may call these; each call has a connection of its own.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace runnel::snapshot {

// A pod's pull secret; no user: none.
struct PullAuth {
  std::string user;
  std::string secret;
};

// Asks the runtime behind `socket` (containerd's) to pull the image, and waits for it. Returns the
// image's ID. Without a timeout it waits as long as the runtime works; the runtime is expected to
// bound its pulls, and `stop` ends the wait at once.
Result<std::string> pull_image(const std::string& socket, const std::string& image,
                               std::optional<Duration> timeout, const std::stop_token& stop = {},
                               const PullAuth& auth = {});

// Whether a pull got as far as the registry, which wants to know who asks.
bool wants_password(const Error& error);

}  // namespace runnel::snapshot
