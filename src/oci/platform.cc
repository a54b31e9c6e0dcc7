#include "oci/platform.h"

#include <algorithm>
#include <array>

namespace runnel::oci {

namespace {

// The first rule that fits is taken. An empty `variant` in one with `any` fits every one.
struct Rule {
  std::string_view architecture;
  std::string_view variant;
  bool any;
  std::string_view normal_architecture;
  std::string_view normal_variant;
};

constexpr Rule kRules[] = {
    {"i386", "", true, "386", ""},          {"amd64", "v1", false, "amd64", ""},
    {"arm64", "8", false, "arm64", ""},     {"arm64", "v8", false, "arm64", ""},
    {"arm64", "v8.0", false, "arm64", ""},  {"arm64", "9", false, "arm64", "v9"},
    {"arm64", "9.0", false, "arm64", "v9"}, {"arm64", "v9.0", false, "arm64", "v9"},
    {"armhf", "", true, "arm", "v7"},       {"armel", "", true, "arm", "v6"},
    {"arm", "", false, "arm", "v7"},        {"arm", "5", false, "arm", "v5"},
    {"arm", "6", false, "arm", "v6"},       {"arm", "7", false, "arm", "v7"},
    {"arm", "8", false, "arm", "v8"},
};

void make_lower(std::string& text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
}

}  // namespace

Platform parse_platform(std::string_view text) {
  std::array<std::string, 3> parts;
  for (auto& part : parts) {
    const auto end = std::min(text.find('/'), text.size());
    part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return {.os = std::move(parts[0]),
          .architecture = std::move(parts[1]),
          .variant = std::move(parts[2])};
}

Platform normalized(Platform platform) {
  auto& [os, architecture, variant, version, features] = platform;
  for (auto* text : {&os, &architecture, &variant}) make_lower(*text);
  if (architecture == "x86_64" || architecture == "x86-64") architecture = "amd64";
  if (architecture == "aarch64") architecture = "arm64";
  for (const auto& rule : kRules) {
    if (rule.architecture != architecture || (!rule.any && rule.variant != variant)) continue;
    architecture = rule.normal_architecture;
    variant = rule.normal_variant;
    break;
  }
  return platform;
}

bool matches(const Platform& wanted, const Platform& platform) {
  const auto left = normalized(wanted);
  const auto right = normalized(platform);
  return left.os == right.os && left.architecture == right.architecture &&
         (wanted.variant.empty() || left.variant == right.variant);
}

}  // namespace runnel::oci
