// The grammar (distribution-spec, "Pulling manifests"):
//
//   repository  component ("/" component)*            at most 255 characters
//   component   alnum ((["."] | "_" | "__" | "-"+) alnum)*     alnum = [a-z0-9]+
//   tag         [A-Za-z0-9_][A-Za-z0-9._-]{0,127}
#include "oci/reference.h"

#include <algorithm>

#include "base/quote.h"

namespace runnel::oci {

namespace {

constexpr size_t kMaxRepository = 255;
constexpr size_t kMaxTag = 128;
constexpr size_t kMaxReference = 1024;

bool is_lower_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_separator(std::string_view run) {
  return run == "." || run == "_" || run == "__" ||
         std::ranges::all_of(run, [](char c) { return c == '-'; });
}

bool is_valid_component(std::string_view text) {
  if (text.empty() || !is_lower_alnum(text.front()) || !is_lower_alnum(text.back())) return false;
  for (size_t at = 0; at < text.size();) {
    if (is_lower_alnum(text[at])) {
      ++at;
      continue;
    }
    auto end = at;
    while (!is_lower_alnum(text[end])) ++end;  // the last character is one
    if (!is_separator(text.substr(at, end - at))) return false;
    at = end;
  }
  return true;
}

bool looks_like_host(std::string_view component) {
  return component == "localhost" || component.find_first_of(".:") != std::string_view::npos ||
         std::ranges::any_of(component, is_upper);
}

bool is_valid_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 && std::ranges::all_of(text, is_digit);
}

// A name, an IPv4 address, or an IPv6 address in brackets; then a port, or not.
bool is_valid_host(std::string_view text) {
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos || close == 1) return false;
    const auto address = text.substr(1, close - 1);
    const auto rest = text.substr(close + 1);
    return address.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos &&
           (rest.empty() || (rest.front() == ':' && is_valid_port(rest.substr(1))));
  }
  const auto colon = text.find(':');
  if (colon != std::string_view::npos && !is_valid_port(text.substr(colon + 1))) return false;
  const auto name = text.substr(0, colon);
  const auto allowed = [](char c) {
    return is_lower_alnum(c) || is_upper(c) || c == '-' || c == '.';
  };
  return !name.empty() && name.size() <= 253 && std::ranges::all_of(name, allowed) &&
         name.front() != '-' && name.front() != '.' && name.back() != '-';
}

struct Split {
  std::string_view host;
  std::string_view path;
};

Split split_host(std::string_view name) {
  const auto slash = name.find('/');
  if (slash == std::string_view::npos || !looks_like_host(name.substr(0, slash)))
    return {"docker.io", name};
  return {name.substr(0, slash), name.substr(slash + 1)};
}

}  // namespace

bool is_valid_repository(std::string_view text) {
  if (text.size() > kMaxRepository) return false;
  while (true) {
    const auto slash = text.find('/');
    if (!is_valid_component(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
}

bool is_valid_tag(std::string_view text) {
  const auto is_word = [](char c) { return is_lower_alnum(c) || is_upper(c) || c == '_'; };
  const auto allowed = [&](char c) { return is_word(c) || c == '.' || c == '-'; };
  return !text.empty() && text.size() <= kMaxTag && is_word(text.front()) &&
         std::ranges::all_of(text, allowed);
}

std::string registry_host(std::string_view host) {
  return std::string(host == "docker.io" ? "registry-1.docker.io" : host);
}

Result<Reference> Reference::parse(std::string_view text) {
  if (text.size() > kMaxReference)
    return fail(Code::kInvalid, "an image name has at most {} characters", kMaxReference);
  Reference reference;
  auto name = text;
  if (const auto at = name.find('@'); at != std::string_view::npos) {
    auto digest = Digest::parse(name.substr(at + 1));
    if (!digest) return std::unexpected(digest.error().in("image name " + quote(text)));
    reference.digest = *std::move(digest);
    name = name.substr(0, at);
  }
  auto [host, path] = split_host(name);
  if (const auto colon = path.rfind(':'); colon != std::string_view::npos) {
    reference.tag = path.substr(colon + 1);
    path = path.substr(0, colon);
    if (!is_valid_tag(reference.tag))
      return fail(Code::kInvalid, "image name {}: {} is not a tag", quote(text),
                  quote(reference.tag));
  }
  if (host == "index.docker.io" || host == "registry-1.docker.io") host = "docker.io";
  if (!is_valid_host(host))
    return fail(Code::kInvalid, "image name {}: {} is not a host", quote(text), quote(host));
  const bool official = host == "docker.io" && path.find('/') == std::string_view::npos;
  reference.host = host;
  reference.repository = official ? "library/" + std::string(path) : std::string(path);
  if (!is_valid_repository(reference.repository))
    return fail(Code::kInvalid,
                "image name {}: {} is not a repository (lower-case letters, digits, and "
                "single . _ - between them, components separated by /)",
                quote(text), quote(path));
  if (reference.tag.empty() && !reference.digest) reference.tag = "latest";
  return reference;
}

std::string Reference::to_string() const {
  auto text = host + "/" + repository;
  if (!tag.empty()) text += ":" + tag;
  if (digest) text += "@" + digest->to_string();
  return text;
}

}  // namespace runnel::oci
