// What the registry is told: registry.toml.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "access/grant.h"
#include "base/error.h"
#include "base/log.h"
#include "convert/worker_job.h"
#include "registry/soft_delete_policy.h"
#include "registry/teleport.h"
#include "registry/warnings.h"
#include "registry/webhook_config.h"

namespace runnel::registry {

inline constexpr const char* kMetricsAddress = "127.0.0.1:5001";

// Who may do what. Without a password file there is no authentication.
struct AuthConfig {
  bool enabled() const { return !htpasswd.empty(); }

  std::string htpasswd;  // path
  // Repositories, or patterns of them, that everyone may pull.
  std::vector<std::string> anonymous_pull;
  // What a person may do, besides what role assignments (role_assignments.h) give: who is here
  // without a grant has no more than those.
  std::map<std::string, access::Grants> users;
  // Roles, in all repositories, of a person who is not there.
  std::vector<std::string> default_roles = {"AcrPush", "AcrDelete"};
  std::chrono::seconds token_lifetime = std::chrono::minutes(5);
  std::chrono::seconds refresh_lifetime = std::chrono::hours(3);
};

struct TlsConfig {
  bool enabled() const { return !certificate.empty(); }

  std::string certificate;  // path of a PEM file, the chain included
  std::string key;          // path; "": in the certificate's file
};

// How often; 0: no limit. Who asks more often gets 429 with Retry-After.
struct LimitsConfig {
  // Of one name from one address. Each costs the server a tenth of a second.
  unsigned failed_logins_per_minute = 30;
  // Of whatever names from one address (of IPv6: one /64), in a minute. Not said: 300, and no limit
  // behind a proxy, whose address is everybody's.
  std::optional<unsigned> failed_logins_per_address;
  // Manifests that one principal gets, or one address when it did not log in. Never blobs: an image
  // is not cut off in the middle.
  unsigned manifests_per_minute = 0;
};

// Conversion of images into streaming artifacts, in the registry itself.
struct ConversionConfig {
  bool enabled = true;
  unsigned concurrency = 1;  // images at once
  unsigned threads = 2;      // of compression, for each of them
  convert::WorkerLimits limits;
  // "linux/amd64", "linux/arm/v7"; empty: every Linux one.
  std::vector<std::string> platforms;
  // PEM file of an Ed25519 private key; "": converter.key among the data, made when it is not
  // there.
  std::string key;
  // What starts of images in any repository read gives first hot packs of images that share their
  // layers.
  bool shared_profiles = true;
  // A boot blob that is made anew out of what nodes told is given up after so long. Its layers are
  // converted already: that is seconds, unless the machine has no time for it.
  std::chrono::seconds longest_renewal = std::chrono::minutes(10);
  // How long an operation that has ended can be asked about.
  std::chrono::days keep_operations = std::chrono::days(30);
};

struct Config {
  std::string data = "/var/lib/runnel/registry";  // a directory of the registry's own
  std::string address = "127.0.0.1";              // an IP address
  uint16_t port = 5000;                           // 0: any free one
  // Threads for disk and database, so many for reads and so many for writes; 0: eight.
  unsigned threads = 0;
  // An upload without a request for so long is thrown away.
  std::chrono::seconds upload_lifetime = std::chrono::hours(24);
  // A blob that no manifest needs is thrown away when it has not been pushed, mounted or asked for
  // so long.
  std::chrono::seconds unreferenced_lifetime = std::chrono::hours(24);
  // Take image manifests whose layers the repository does not have.
  bool sparse_manifests = false;
  bool deletion = true;
  // ADDR:PORT of the page of metrics, or "off". Left empty no page is served; the program then puts
  // kMetricsAddress here.
  std::string metrics;
  // What is deleted, or was the target of a tag that is pushed again, can come back for so long.
  bool soft_delete = true;
  std::chrono::days soft_delete_days = std::chrono::days(7);
  // What holds unless an Owner says something else at run time: soft_delete_policy.h.
  SoftDeletePolicy soft_delete_policy() const {
    return {.enabled = soft_delete, .kept = soft_delete_days, .updated = std::nullopt};
  }
  // Files of JSON lines. The audit log: "" for audit.log among the data when there is
  // authentication, and "off".
  std::string audit_log;
  std::string access_log;  // "": none
  // What requests that run get to end when the registry is told to stop.
  std::chrono::seconds drain = std::chrono::seconds(30);
  log::Options log;
  // "https://registry.example": how clients reach the registry when a proxy stands before it;
  // empty: as the request says.
  std::string external_url;
  AuthConfig auth;
  TlsConfig tls;
  LimitsConfig limits;
  unsigned failed_logins_per_address() const {
    return limits.failed_logins_per_address.value_or(external_url.empty() ? 300 : 0);
  }
  ConversionConfig conversion;
  TeleportConfig teleport;
  Notices notices;
  Webhooks webhooks;
  // How fast blobs are read again to find those that went bad, on average; 0: not at all.
  uint64_t scrub_bytes_per_second = 8 << 20;

  // Where conversions have their files, which have no names.
  std::string work_directory() const { return data + "/work"; }
};

// Reads TOML:
//
//   version = 1                          # required
//   data = "/var/lib/runnel/registry"
//   listen = "127.0.0.1:5000"
//   threads = 4
//   upload_lifetime_s = 86400
//   unreferenced_lifetime_s = 86400
//   sparse_manifests = false
//   deletion = true
//   metrics = "127.0.0.1:5001"           # or "off"
//   soft_delete = true
//   soft_delete_days = 7                 # 1 to 90
//   audit_log = "/var/log/runnel/audit.log"    # or "off"
//   access_log = "/var/log/runnel/access.log"  # default: none
//   drain_s = 30
//   log_level = "info"
//   log_format = "auto"
//   external_url = "https://registry.example"
//
//   [auth]
//   htpasswd = "/etc/runnel/htpasswd"    # htpasswd -B
//   anonymous_pull = ["public/*"]
//   default_roles = ["AcrPush", "AcrDelete"]  # of a person without [users.NAME]
//   token_lifetime_s = 300
//   refresh_lifetime_s = 10800
//
//   [users.alice]                        # a person who is not here has default_roles
//   roles = ["AcrPush", "AcrDelete"]     # AcrPull, AcrPush, AcrDelete, Converter, Owner
//   repositories = ["team/*"]            # default: all; [] for none
//
//   [tls]
//   certificate = "/etc/runnel/tls.crt"  # PEM, with the chain; read again when it changes
//   key = "/etc/runnel/tls.key"
//
//   [limits]
//   failed_logins_per_minute = 30        # of one name from one address; 0: no limit
//   failed_logins_per_address = 300      # of any names, a minute; default with external_url: 0
//   manifests_per_minute = 0             # that one name or address gets; 0: no limit
//
//   [conversion]
//   enabled = true
//   concurrency = 1                      # images at once
//   threads = 2                          # of compression, for each of them
//   worker_memory_mib = 1024             # address space of the process that reads a layer
//   max_layer_mib = 65536                # of a layer, inflated
//   max_ratio = 200                      # inflated to stored, above 256 MiB
//   max_entries = 4000000                # of a layer
//   platforms = ["linux/amd64"]          # default: every Linux one
//   key = "/etc/runnel/converter.pem"    # Ed25519; default: converter.key among the data
//   longest_renewal_s = 600              # for a boot blob out of what nodes told
//   keep_operations_days = 30
//
//   [teleport]
//   repositories = 10                    # with teleportEnabled, at most
//   enable_by_push = false               # a push switches it on while there are fewer
//
//   [notices]                            # what clients print when they use these repositories
//   "team/old/*" = "moved to team/new; this goes away in March"
//
//   [webhooks.ci]                        # gets a POST of JSON for every push, delete and restore
//   url = "https://ci.example/registry"
//   repositories = ["team/*"]            # default: all
//   authorization = "Bearer …"           # default: none
//   ca = "/etc/runnel/ci-ca.pem"         # vouches for the receiver, besides the system's
//
//   [scrub]
//   bytes_per_second = 8388608           # 0: no scrub
//
// kInvalid, with the line, for a key that is unknown or has a value that makes no sense.
Result<Config> load_config(const std::string& path);
// The same from a text; `name` stands in messages for the path.
Result<Config> parse_config(std::string_view text, std::string_view name);

// Sets address and port from "ADDRESS:PORT", "[::1]:5000" for IPv6.
Result<void> set_listen(Config& config, std::string_view text);

}  // namespace runnel::registry
