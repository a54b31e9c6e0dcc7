// The registries as this node reaches them: one place that knows hosts, credentials, and which
// repositories have refused us.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "fetch/fetcher.h"
#include "remote/gateway.h"
#include "remote/repository.h"
#include "remote/shown_credentials.h"

namespace runnel::node {

// Any thread may call any method.
class Registries {
 public:
  struct Parts {
    std::shared_ptr<remote::Gateway> gateway;
    fetch::Fetcher& fetcher;  // outlives this
    // Credentials that can be had again at any time, and those that clients showed.
    std::shared_ptr<remote::CredentialSource> renewable;
    std::shared_ptr<remote::ShownCredentials> shown;
    // Somebody has told this node of the host: it may be contacted without a client's request.
    std::function<bool(const std::string& host)> is_configured;
  };
  explicit Registries(Parts parts) : parts_(std::move(parts)) {}

  remote::Repository repository(const std::string& host, const std::string& name) const {
    return remote::Repository(parts_.gateway, host, name);
  }

  // fetch::Fetcher::hold_background().
  std::shared_ptr<void> hold_background() { return parts_.fetcher.hold_background(); }

  // A blob of that repository, to be read in ranges.
  std::shared_ptr<fetch::RangeSource> source(const std::string& host, const std::string& repository,
                                             const oci::Digest& digest, uint64_t size);

  // Somebody pulls the image: what a client showed for the repository is wanted for it.
  void saw_image(const std::string& host, const std::string& repository,
                 const oci::Digest& manifest) {
    parts_.shown->saw_image(host, repository, manifest.to_string());
  }

  bool is_configured(const std::string& host) const { return parts_.is_configured(host); }
  // Why nothing may be sent to the host; see remote::Endpoint.
  std::optional<Error> refused(const std::string& host) const {
    return parts_.gateway->hosts.endpoint(host).refused;
  }

  // The registry's words, when the last read of a blob of that repository was refused for want of
  // credentials.
  std::optional<std::string> denied(const std::string& host, const std::string& repository) const;

  // What we may read there hangs on a token that a client showed, or on what the registry gave for
  // it. May block for a bounded time (credential helpers run).
  bool only_by_token(const std::string& host, const std::string& repository);
  // The registry gave nothing for it: it ends when the client's token does.
  bool cannot_renew(const std::string& host, const std::string& repository) const;
  // The token's end; nothing when there is no such token, max() when it does not say.
  std::optional<WallTime> token_end(const std::string& host, const std::string& repository) const;

 private:
  // Shared with the sources, which may outlive this.
  struct Refusals {
    using Place = std::pair<std::string, std::string>;  // host, repository
    std::mutex mutex;
    std::map<Place, std::string> words;
  };
  class Watched;

  const Parts parts_;
  const std::shared_ptr<Refusals> refusals_ = std::make_shared<Refusals>();
};

}  // namespace runnel::node
