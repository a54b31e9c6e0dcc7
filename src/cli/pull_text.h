// What `runnel pull` says of how a pull ended, and what to do where it failed.
#pragma once

#include <chrono>
#include <string>

#include "base/error.h"
#include "cli/cli.h"

namespace runnel::cli {

// `id` is what containerd calls the image.
std::string pulled_line(const std::string& image, const std::string& id,
                        std::chrono::duration<double> took);

// `error` is of snapshot::pull_image(). `socket_there`: something is at the path of containerd's
// socket.
Error pull_error(const Error& error, const PullOptions& options, const std::string& image,
                 std::chrono::duration<double> took, bool socket_there);

}  // namespace runnel::cli
