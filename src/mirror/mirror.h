// mirror/ is the HTTP server through which containerd pulls: it hands every request on to the
// registry that the request's `ns` names, and to where that redirects it, hands the answer back,
// and tells an observer which manifests went by, so that an image's artifact is looked up while
// containerd still reads.
//
// It does not hold: anything it has seen (no blob is kept), credentials of the node's own (a
// request goes on with what its client sent, nothing more), or what the observer does. A registry's
// 401 sends the client to the mirror's own token server (token_desk), which is how the node learns
// what it needs to read the rest of the image.
//
// TCP serves GET and HEAD of /v2/… with ?ns=, and GET /status. Everything else is refused.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>

#include "artifact/boot_hint.h"
#include "base/bytes.h"
#include "base/worker_pool.h"
#include "mirror/token_desk.h"
#include "net/client.h"
#include "net/server.h"
#include "oci/digest.h"
#include "remote/hosts.h"
#include "remote/shown_credentials.h"

namespace runnel::mirror {

// A manifest that a client has just read; its digest is verified.
struct SeenManifest {
  std::string host;  // as `ns` says: "docker.io", "registry.example:5000"
  std::string repository;
  oci::Digest digest;
  std::string media_type;
  Bytes bytes;  // gone when the call returns
};

// What a client was told that a tag means, and may read next. The registry's word, unverified.
struct NamedManifest {
  std::string host;
  std::string repository;
  oci::Digest digest;
  std::optional<artifact::BootHint> boot;  // from our registry, when the image has an artifact
};

// Called from any of the server's threads; must not block.
class Observer {
 public:
  virtual ~Observer() = default;
  // May come more than once for the same manifest, and comes before manifest_seen() if at all.
  virtual void manifest_named(const NamedManifest& manifest) = 0;
  virtual void manifest_seen(const SeenManifest& manifest) = 0;
};

// What of the registry a path below /v2/ means.
struct Target {
  std::string repository;
  bool manifest = false;
  std::string reference;  // tag or digest
};

// Thread-safe. The references must outlive it.
class Mirror final : public net::Handler {
 public:
  // `status` makes the JSON that GET /status answers, on a thread that does nothing else.
  Mirror(net::Client& client, const remote::Hosts& hosts, Observer& observer,
         remote::ShownCredentials& shown, std::function<std::string()> status);

  net::awaitable<net::Response> handle(net::Request& request, net::RequestBody& body) override;

 private:
  net::awaitable<net::Response> answer_status();
  net::awaitable<net::Response> forward(const net::Request& request, const std::string& host);
  void tell_name(const std::string& host, const Target& target, const net::Headers& headers);
  void send_to_desk(const net::Request& request, const std::string& host, net::Response& response);

  net::Client& client_;
  const remote::Hosts& hosts_;
  Observer& observer_;
  TokenDesk desk_;
  std::function<std::string()> status_;
  std::atomic<unsigned> asking_status_ = 0;
  WorkerPool status_pool_{1};  // last: its tasks use status_
};

// Nothing when it is no manifest or blob.
std::optional<Target> parse_target(std::string_view path);

}  // namespace runnel::mirror
