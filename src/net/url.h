// The parts of a URL that Runnel touches: percent-encoding, queries, "host:port".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace runnel::net {

// Everything but letters, digits and "-._~" becomes %XX: safe as a value anywhere in a URL.
std::string percent_encode(std::string_view text);
// The same, but '/', ':' and '@' stay: for a whole path.
std::string percent_encode_path(std::string_view text);
// kInvalid when a '%' is not followed by two hex digits.
Result<std::string> percent_decode(std::string_view text);

// "name=value&…" in its order; a name may come more than once.
class Query {
 public:
  static constexpr size_t kMaxPairs = 256;

  // The text without its '?'; decoded ('+' is a space, as in forms). kInvalid when a part cannot be
  // decoded or there are too many.
  static Result<Query> parse(std::string_view text);

  void add(std::string name, std::string value);
  std::optional<std::string_view> first(std::string_view name) const;
  std::vector<std::string_view> all(std::string_view name) const;
  bool has(std::string_view name) const { return first(name).has_value(); }
  // Encoded, without '?'; "" when there are no pairs.
  std::string text() const;

  bool empty() const { return pairs_.empty(); }
  auto begin() const { return pairs_.begin(); }
  auto end() const { return pairs_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

struct HostPort {
  bool operator==(const HostPort&) const = default;
  // "host", "host:5000", "[::1]:5000": an IPv6 address has brackets again.
  std::string text() const;

  std::string host;  // without brackets
  std::optional<uint16_t> port;
};

// kInvalid when the text is neither "host", "host:port", "[v6]" nor "[v6]:port".
Result<HostPort> split_host_port(std::string_view text);

// localhost, 127.0.0.0/8 and ::1 (with or without brackets), whose traffic never leaves the
// machine.
bool is_loopback_host(std::string_view host);

struct Url {
  // Scheme, host and port: what credentials belong to.
  bool same_origin(const Url& other) const;
  uint16_t effective_port() const;
  std::string text() const;

  std::string scheme;  // "http" or "https"
  HostPort authority;
  std::string target;  // "/path?query", never empty
};

// An absolute http or https URL. A fragment is dropped; user information is refused (kInvalid),
// because credentials travel in headers here.
Result<Url> parse_url(std::string_view text);

// For messages and logs: without user information, query and fragment, which may hold secrets.
std::string without_secrets(std::string_view url);

}  // namespace runnel::net
