// A small OCI 1.1 registry in this process that misbehaves on demand: what clients are tested with.
//
// It keeps manifests per repository and blobs for all of them in memory, and answers on a free port
// of 127.0.0.1. Redirects lead to "localhost" of the same port, which is another origin.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "net/server.h"
#include "oci/digest.h"
#include "oci/document.h"

namespace runnel::test {

// What happens to one request instead of, or on top of, a good answer.
struct Fault {
  int status = 0;  // answer with this status and these headers
  net::Headers headers{};
  std::string body{};
  std::optional<uint64_t> cut_after{};  // close after so many bytes of the body
  bool stall = false;                   // never answer (or, with cut_after, never go on)
  bool ignore_range = false;            // 200 and everything
  bool wrong_range = false;             // 206 with a Content-Range that was not asked for
  bool corrupt = false;                 // flip a bit of the body
  bool drop_answer = false;             // do what was asked, then close without the answer's body
  int delay_ms = 0;                     // answer well, but late
};

class FakeRegistry final : public net::Handler {
 public:
  enum class Auth { kNone, kBasic, kBearer };

  // Set before or between requests.
  struct Behaviour {
    bool referrers_api = true;
    size_t referrers_page = 1000;
    bool head_manifests = true;  // false: HEAD answers 405
    bool digest_headers = true;
    bool absolute_locations = false;
    bool mounts = true;
    bool ignore_ranges = false;
    bool redirect_blobs = false;
    Auth auth = Auth::kNone;
    bool anonymous_pull = false;  // with kBearer: tokens for pull need no user
    int token_seconds = 300;
    bool oauth_post = true;  // the token server knows POST
    std::string user = "user";
    std::string password = "password";
    std::string identity_token = "identity";
    // As Runnel's own registry: tokens come from /oauth2/token, and /oauth2/exchange gives the
    // identity token for one of them.
    bool exchanges = false;
  };

  // One request, as it came.
  struct Seen {
    std::string method;
    std::string target;
    std::string authorization;
    std::string range;
    std::string host;
  };

  FakeRegistry();
  ~FakeRegistry() override;

  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  uint16_t port() const { return port_; }
  // Gone and back again, at the same port and with the same content.
  void stop();
  void start();

  void set(Behaviour behaviour);
  // The next `times` requests whose "METHOD /target" contains `what`.
  void inject(std::string what, Fault fault, int times = 1);
  void forget_faults();
  void expire_tokens();
  // One that somebody got elsewhere.
  std::string token_for(const std::string& scope);
  void expire_redirects();
  // Uploads that were started are forgotten.
  void lose_uploads();

  oci::Digest add_blob(std::string_view bytes);
  oci::Digest add_manifest(const std::string& repository, const std::string& tag,
                           const std::string& media_type, std::string_view bytes);
  void remove_blob(const oci::Digest& digest);
  std::optional<std::string> blob(const oci::Digest& digest) const;
  // By tag or digest.
  std::optional<std::string> manifest(const std::string& repository,
                                      const std::string& reference) const;

  // How many requests had `what` in their "METHOD /target".
  size_t count(std::string_view what) const;
  std::vector<Seen> seen() const;
  void forget_seen();

  net::awaitable<net::Response> handle(net::Request& request, net::RequestBody& body) override;

 private:
  struct Stored {
    std::string media_type;
    std::string bytes;
  };
  struct Issued {
    bool push = false;
    std::vector<std::string> scopes;
  };
  struct Injected {
    std::string what;
    Fault fault;
    int times;
  };
  struct Repository {
    std::map<std::string, Stored> manifests;  // by digest
    std::map<std::string, std::string> tags;  // to digests
  };

  Fault take_fault(const net::Request& request);
  net::Response answer(const net::Request& request, const std::string& body);
  net::Response answer_v2(const net::Request& request, const std::string& body);
  net::Response manifests(const net::Request& request, const std::string& name,
                          const std::string& reference, const std::string& body);
  net::Response put_manifest(const net::Request& request, const std::string& name,
                             const std::string& reference, const std::string& body);
  net::Response blobs(const net::Request& request, const std::string& digest);
  net::Response uploads(const net::Request& request, const std::string& name,
                        const std::string& session, const std::string& body);
  net::Response referrers(const net::Request& request, const std::string& name,
                          const std::string& digest);
  net::Response storage(const net::Request& request, const std::string& digest);
  net::Response exchange(const std::string& body);
  net::Response token(const net::Request& request, const std::string& body);
  net::Response ranged(const net::Request& request, const std::string& bytes);
  std::optional<net::Response> refuse(const net::Request& request, const std::string& name,
                                      bool push);
  net::Response misbehave(const Fault& fault, const net::Request& request, net::Response response);
  std::string location(const net::Request& request, const std::string& path) const;

  uint16_t port_ = 0;
  std::unique_ptr<net::Server> server_;
  std::shared_ptr<std::atomic<bool>> stopping_;

  mutable std::mutex mutex_;
  Behaviour behaviour_;
  std::deque<Injected> faults_;
  std::vector<Seen> seen_;
  std::map<std::string, std::string> blobs_;
  std::map<std::string, Repository> repositories_;
  std::set<std::string> sessions_;
  std::map<std::string, Issued> tokens_;
  uint64_t next_ = 1;
  uint64_t redirect_generation_ = 1;
};

}  // namespace runnel::test
