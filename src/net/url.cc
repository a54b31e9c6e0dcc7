#include "net/url.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/quote.h"
#include "net/headers.h"

namespace runnel::net {

namespace {

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

std::string encode(std::string_view text, std::string_view keep) {
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (is_unreserved(c) || keep.contains(c))
      encoded += c;
    else
      fmt::format_to(std::back_inserter(encoded), "%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> decode(std::string_view text, bool plus_is_space) {
  auto plain = std::min(text.find('%'), text.size());
  if (plus_is_space) plain = std::min(plain, text.find('+'));
  std::string decoded(text.substr(0, plain));
  decoded.reserve(text.size());
  for (size_t at = plain; at < text.size(); ++at) {
    if (text[at] == '+' && plus_is_space) {
      decoded += ' ';
    } else if (text[at] != '%') {
      decoded += text[at];
    } else {
      const int high = at + 2 < text.size() ? hex_digit(text[at + 1]) : -1;
      const int low = at + 2 < text.size() ? hex_digit(text[at + 2]) : -1;
      if (high < 0 || low < 0)
        return fail(Code::kInvalid, "'%' without two hex digits at offset {}", at);
      decoded += static_cast<char>(high * 16 + low);
      at += 2;
    }
  }
  return decoded;
}

Result<uint16_t> port_of(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0)
    return fail(Code::kInvalid, "{} is not a port (1 to 65535)", quote(text));
  return port;
}

bool is_ipv6(std::string_view host) {
  in6_addr address;
  // A zone ("%eth0") is part of an address for connect(2), not for inet_pton(3).
  const std::string text(host.substr(0, host.find('%')));
  return inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// Letters of a host name; strict enough that a host can be put into a URL or a message as it is.
bool is_host_name(std::string_view host) {
  return !host.empty() && host.size() <= 255 && std::ranges::all_of(host, is_unreserved);
}

std::string_view without_brackets(std::string_view host) {
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    return host.substr(1, host.size() - 2);
  return host;
}

}  // namespace

std::string percent_encode(std::string_view text) {
  return encode(text, "");
}
std::string percent_encode_path(std::string_view text) {
  return encode(text, "/:@");
}
Result<std::string> percent_decode(std::string_view text) {
  return decode(text, false);
}

Result<Query> Query::parse(std::string_view text) {
  Query query;
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const auto pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    if (query.pairs_.size() >= kMaxPairs)
      return fail(Code::kInvalid, "query: more than {} parameters", kMaxPairs);

    const auto equals = std::min(pair.find('='), pair.size());
    auto name = decode(pair.substr(0, equals), true);
    auto value = decode(pair.substr(std::min(equals + 1, pair.size())), true);
    if (!name) return std::unexpected(name.error().in("query"));
    if (!value) return std::unexpected(value.error().in("query"));
    query.add(*std::move(name), *std::move(value));
  }
  return query;
}

void Query::add(std::string name, std::string value) {
  pairs_.emplace_back(std::move(name), std::move(value));
}

std::optional<std::string_view> Query::first(std::string_view name) const {
  for (const auto& [key, value] : pairs_)
    if (key == name) return value;
  return std::nullopt;
}

std::vector<std::string_view> Query::all(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const auto& [key, value] : pairs_)
    if (key == name) values.push_back(value);
  return values;
}

std::string Query::text() const {
  std::string text;
  for (const auto& [name, value] : pairs_) {
    if (!text.empty()) text += '&';
    text += percent_encode(name) + '=' + percent_encode(value);
  }
  return text;
}

std::string HostPort::text() const {
  const bool brackets = host.contains(':');
  return fmt::format("{}{}{}{}", brackets ? "[" : "", host, brackets ? "]" : "",
                     port ? fmt::format(":{}", *port) : "");
}

Result<HostPort> split_host_port(std::string_view text) {
  HostPort split;
  std::string_view rest;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == text.npos || !is_ipv6(text.substr(1, close - 1)))
      return fail(Code::kInvalid, "{} is not an IPv6 address in brackets", quote(text));
    split.host = text.substr(1, close - 1);
    rest = text.substr(close + 1);
  } else {
    const auto colon = std::min(text.find(':'), text.size());
    split.host = text.substr(0, colon);
    rest = text.substr(colon);
    if (!is_host_name(split.host))
      return fail(Code::kInvalid, "{} is not \"host\" or \"host:port\"", quote(text));
  }
  if (rest.empty()) return split;
  if (rest.front() != ':')
    return fail(Code::kInvalid, "{} is not \"host\" or \"host:port\"", quote(text));
  RUNNEL_TRY(split.port, port_of(rest.substr(1)));
  return split;
}

bool is_loopback_host(std::string_view host) {
  const std::string text(without_brackets(host));
  if (same_name(text, "localhost")) return true;
  in_addr v4;
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

uint16_t Url::effective_port() const {
  return authority.port.value_or(scheme == "https" ? 443 : 80);
}

bool Url::same_origin(const Url& other) const {
  return scheme == other.scheme && same_name(authority.host, other.authority.host) &&
         effective_port() == other.effective_port();
}

std::string Url::text() const {
  return scheme + "://" + authority.text() + target;
}

Result<Url> parse_url(std::string_view text) {
  Url url;
  const auto colon = text.find("://");
  const auto scheme = text.substr(0, std::min(colon, text.size()));
  if (colon == text.npos || (!same_name(scheme, "http") && !same_name(scheme, "https")))
    return fail(Code::kInvalid, "{} is not an http or https URL", quote(without_secrets(text)));
  url.scheme = same_name(scheme, "http") ? "http" : "https";
  text.remove_prefix(colon + 3);
  text = text.substr(0, text.find('#'));

  const auto end = std::min(text.find_first_of("/?"), text.size());
  if (text.substr(0, end).contains('@'))
    return fail(Code::kInvalid, "a URL with a user name or password in it is refused");
  RUNNEL_TRY(url.authority, split_host_port(text.substr(0, end)));

  url.target = text.substr(end);
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  const bool printable =
      std::ranges::all_of(url.target, [](char c) { return c > 0x20 && c < 0x7f; });
  if (!printable)
    return fail(Code::kInvalid, "the URL {}://{} has a character in its path that must be encoded",
                url.scheme, url.authority.text());
  return url;
}

std::string without_secrets(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  const auto authority = url.find("://");
  if (authority == url.npos) return std::string(url);
  const auto start = authority + 3;
  const auto end = std::min(url.find('/', start), url.size());
  const auto at = url.substr(0, end).rfind('@');
  if (at == url.npos || at < start) return std::string(url);
  return std::string(url.substr(0, start)) + std::string(url.substr(at + 1));
}

}  // namespace runnel::net
