// Any bytes as what a registry answers beside its documents: challenges, ranges, links, times,
// error pages, addresses, hints, tokens. No crash, and what is accepted keeps its promises.
//
// links: artifact remote
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "artifact/boot_hint.h"
#include "base/base64.h"
#include "base/error.h"
#include "remote/capability.h"
#include "remote/challenge.h"
#include "remote/error_body.h"
#include "remote/header_values.h"
#include "remote/token.h"
#include "remote/url.h"

using runnel::as_text;
namespace remote = runnel::remote;

namespace {

void challenges(std::string_view text) {
  const auto parsed = remote::parse_challenges(text);
  if (!parsed) return;
  RUNNEL_CHECK(!parsed->empty());
  for (const auto& challenge : *parsed) {
    RUNNEL_CHECK(!challenge.scheme.empty());
    for (const auto& [name, value] : challenge.parameters) {
      RUNNEL_CHECK(challenge.parameter(name) == value);
      RUNNEL_CHECK(value.find('\n') == std::string::npos);
    }
  }
}

void ranges_and_times(std::string_view text) {
  const auto range = remote::parse_content_range(text);
  if (range)
    RUNNEL_CHECK(range->first <= range->last && (!range->total || range->last < *range->total));
  const auto wait = remote::parse_retry_after(text, runnel::WallTime());
  if (wait) RUNNEL_CHECK(*wait >= runnel::Duration::zero() && *wait <= std::chrono::hours(24));
}

void addresses(std::string_view text) {
  const std::string_view base = "https://registry.example/v2/a/b";
  const auto resolved = remote::resolve_url(base, text);
  if (resolved) {
    // Seen again from anywhere, an absolute address is itself.
    RUNNEL_CHECK(remote::resolve_url(base, *resolved) == *resolved);
    RUNNEL_CHECK(resolved->starts_with("http://") || resolved->starts_with("https://"));
    const auto endpoint = remote::Hosts().endpoint("registry.example");
    if (remote::check_leads_on(endpoint, *resolved))
      RUNNEL_CHECK(resolved->starts_with("https://"));
  }
  if (const auto next = remote::next_link(text)) RUNNEL_CHECK(next->size() < text.size());
}

void texts(std::string_view text) {
  for (const char* type : {"application/json", "text/plain"}) {
    const std::string shown = remote::error_text(runnel::as_bytes(text), type);
    RUNNEL_CHECK(shown.size() <= 500);
    RUNNEL_CHECK(std::ranges::none_of(shown, [](unsigned char c) { return c < 0x20; }));
  }
  RUNNEL_CHECK(runnel::from_base64(runnel::to_base64(text)) == text);
}

void hints(std::string_view text) {
  const auto hint = runnel::artifact::parse_boot_hint(text);
  if (!hint) return;
  RUNNEL_CHECK(hint->size > 0 && hint->head <= hint->size);
  RUNNEL_CHECK(runnel::artifact::parse_boot_hint(to_header(*hint)).value() == *hint);
}

bool is_of_a_day(runnel::Duration lifetime) {
  return lifetime > runnel::Duration::zero() && lifetime <= std::chrono::hours(24);
}

void tokens(std::string_view text) {
  if (const auto token = remote::parse_token(runnel::as_bytes(text))) {
    RUNNEL_CHECK(is_of_a_day(token->lifetime));
    const runnel::net::Headers line{{"Authorization", "Bearer " + token->value.reveal()}};
    RUNNEL_CHECK(line.check().has_value());
  }
  const runnel::WallTime now(std::chrono::seconds(1'700'000'000));
  if (const auto right = remote::parse_capability(runnel::as_bytes(text), now))
    RUNNEL_CHECK(right->expires && is_of_a_day(*right->expires - now));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = as_text(std::as_bytes(std::span(data, size)));
  challenges(text);
  ranges_and_times(text);
  addresses(text);
  texts(text);
  hints(text);
  tokens(text);
  return 0;
}
