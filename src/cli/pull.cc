#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "cli/cli.h"
#include "cli/pull_text.h"
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
  const auto name = reference->to_string();
  const auto started = std::chrono::steady_clock::now();
  const auto id = [&] {
    ProgressLine line;
    line.show(fmt::format("containerd pulls {}", name));
    return snapshot::pull_image(options.address, name, std::chrono::seconds(options.timeout_s), {},
                                auth);
  }();
  const auto took = std::chrono::steady_clock::now() - started;
  if (!id) {
    const bool there = ::access(options.address.c_str(), F_OK) == 0 || errno != ENOENT;
    return report(pull_error(id.error(), options, name, took, there));
  }
  fmt::print("{}\n", pulled_line(name, *id, took));
  return 0;
}

}  // namespace runnel::cli
