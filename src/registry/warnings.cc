#include "registry/warnings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quote.h"

namespace runnel::registry {

namespace {

constexpr size_t kMaxText = 1000;
// The specification's; of whole lines, so that it holds however one counts.
constexpr size_t kMaxAll = 4096;
constexpr std::string_view kName = "Warning";

std::string warning(std::string_view text) {
  std::string value = "299 - \"";
  for (const char c : text) {
    if (c == '"' || c == '\\') value += '\\';
    value += c;
  }
  return value + '"';
}

}  // namespace

Result<void> check_notice(std::string_view text) {
  const bool plain = std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
  if (text.empty() || text.size() > kMaxText || !plain)
    return fail(Code::kInvalid, "{} is not a notice: one line of at most {} ASCII characters",
                quote(text), kMaxText);
  return {};
}

void add_warnings(net::Headers& headers, const Notices& notices, const Caller& caller,
                  const Route& route) {
  const bool ping = route.kind == Route::Kind::kBase;
  if (!ping && route.kind != Route::Kind::kManifest) return;
  size_t size = 0;
  const auto add = [&](std::string_view text) {
    auto value = warning(text);
    const size_t line = kName.size() + 2 + value.size() + 2;  // with ": " and the line's end
    if (size + line > kMaxAll) return;
    size += line;
    headers.add(std::string(kName), std::move(value));
  };
  if (!caller.notice().empty()) add(caller.notice());
  if (ping || route.hidden) return;
  for (const auto& [pattern, text] : notices)
    if (access::matches(pattern, route.repository)) add(text);
}

}  // namespace runnel::registry
