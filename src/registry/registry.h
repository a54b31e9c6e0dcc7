// registry/ is Runnel's OCI registry: the distribution API over a BlobStore and a MetadataStore.
//
// registry.h   puts the stores, the API and the server together; what main uses
// config.h     registry.toml
// api.h        from a request to its handler: blob_api, upload_api, manifest_api (and list_api),
//              oauth_api, management_api
// gate.h       who asks; caller.h what they may do; authorize.h whether they may do this
// token_store.h  tokens and scope maps
// uploads.h    what is acknowledged of an upload, and what a crash leaves of it
// referrers.h  the list of a manifest's referrers
// collector.h  gives back the space of blobs that nothing needs
//
// It does not hold: bytes (blob/), tables (meta/), HTTP (net/), passwords and signatures (access/),
// conversion (convert/).
// Handlers are coroutines on the server's threads; all that blocks runs on two pools of its own.
#pragma once

#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "registry/config.h"

namespace runnel::registry {

// A running registry. Any thread may call any method.
class Registry {
 public:
  // Opens or makes the data directory, and listens. Several registries, in several processes, may
  // share one data directory. Without authentication everyone who can connect can push, so an
  // address that others can reach is then refused (kDenied). The clock must outlive the registry.
  static Result<std::unique_ptr<Registry>> start(const Config& config, const Clock& clock);
  // Ends requests that still run, then everything else.
  ~Registry();

  // Where it listens, also when the configuration left that open.
  uint16_t port() const;
  // "127.0.0.1:5001", or "off".
  std::string metrics_address() const;

  // Reads the certificate and its key again, now; after an error the old ones are shown on.
  // kUnsupported without TLS.
  Result<void> reload_certificate();

  // Goes on in new files of the audit and access log: the old ones were moved away.
  void reopen_logs();

  // Takes no new connections, and gives requests that run Config::drain to end.
  void stop();

 private:
  struct Parts;
  explicit Registry(std::unique_ptr<Parts> parts);

  const std::unique_ptr<Parts> parts_;
};

}  // namespace runnel::registry
