#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "cli/cli.h"
#include "cli/report.h"
#include "cli/secret_input.h"
#include "oci/reference.h"
#include "snapshot/cri_images.h"

namespace runnel::cli {

int pull(const PullOptions& options) {
  const auto reference = typed(oci::Reference::parse(options.image));
  if (!reference) return report(reference.error());
  snapshot::PullAuth auth{.user = options.user, .secret = {}};
  if (!options.user.empty()) {
    auto secret = read_secret();
    if (!secret) return report(secret.error());
    auth.secret = *std::move(secret);
  }
  const auto started = std::chrono::steady_clock::now();
  const auto id = snapshot::pull_image(options.address, reference->to_string(),
                                       std::chrono::seconds(options.timeout_s), {}, auth);
  if (!id && ::access(options.address.c_str(), F_OK) != 0 && errno == ENOENT)
    return report(Error(id.error().code,
                        fmt::format("there is no socket {}: containerd does not run, or listens "
                                    "elsewhere. Start it, or say --containerd-address",
                                    options.address)));
  if (!id) return report(id.error());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  fmt::print("{} {} in {:.2f} s\n", reference->to_string(), *id, took.count());
  return 0;
}

}  // namespace runnel::cli
