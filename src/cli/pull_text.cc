#include "cli/pull_text.h"

#include "snapshot/cri_images.h"

namespace runnel::cli {

namespace {

// What to do about the error; empty when its own words have to do.
std::string advice(const Error& error, const PullOptions& options) {
  if (snapshot::wants_password(error)) {
    return options.user.empty()
               ? "; the registry wants to know who pulls: runnel pull IMAGE --user NAME "
                 "--password-stdin gives what a pod's secret has"
               : fmt::format("; it refused {}: is the password right, and may {} pull this?",
                             options.user, options.user);
  }
  if (error.code == Code::kUnsupported)
    return "; its CRI plugin is disabled (disabled_plugins in its configuration), and pulls of "
           "clients that need none, such as ctr, stream all the same";
  if (error.code == Code::kUnavailable)
    return "; containerd's log says more (journalctl -u containerd), and `runnel doctor` looks at "
           "what a pull needs";
  return {};
}

}  // namespace

std::string pulled_line(const std::string& image, const std::string& id,
                        std::chrono::duration<double> took) {
  return fmt::format("{} {} in {:.2f} s", image, id, took.count());
}

Error pull_error(const Error& error, const PullOptions& options, const std::string& image,
                 std::chrono::duration<double> took, bool socket_there) {
  if (!socket_there) {
    return {error.code, fmt::format("there is no socket {}: containerd does not run, or listens "
                                    "elsewhere. Start it, or say --containerd-address",
                                    options.address)};
  }
  if (error.code == Code::kUnavailable && took >= std::chrono::seconds(options.timeout_s)) {
    return {
        error.code,
        fmt::format("{}: containerd at {} had not pulled it after {} s (--timeout); its log says "
                    "what it waits for (journalctl -u containerd)",
                    image, options.address, options.timeout_s)};
  }
  return Error(error.code, error.message + advice(error, options)).in(image);
}

}  // namespace runnel::cli
