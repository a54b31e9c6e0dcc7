// Any bytes as what the registry takes for somebody's right: scopes of a request for a token, lines
// of a scope map, signed tokens. A token is also signed for them, or no mutation would get past the
// signature; what is understood says the same when it is written and read again, and never more.
//
// links: access
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "access/access.h"
#include "access/base64url.h"
#include "access/htpasswd.h"
#include "base/bytes.h"

using namespace runnel::access;
using runnel::WallTime;

namespace {

constexpr std::string_view kHeader = R"({"alg":"HS256","typ":"JWT"})";
const std::string kKey(32, 'k');
const WallTime kNow{std::chrono::seconds(1'700'000'000)};

// Those of the catalog have none.
void check_same_or_more(const Scope& before, const Scope& after) {
  RUNNEL_CHECK(before.kind == after.kind && before.repository == after.repository);
  RUNNEL_CHECK(after.actions.has_all(before.actions));
}

void scopes(std::string_view text) {
  const auto parsed = parse_scopes(text);
  if (!parsed) return;
  RUNNEL_CHECK(parsed->size() <= 100);
  for (const auto& scope : *parsed) {
    const auto written = to_string(scope);
    const auto again = parse_scopes(written);
    RUNNEL_CHECK(again && again->size() == 1);
    check_same_or_more(scope, again->front());
    // Nothing is added to it every time that it is handed on.
    RUNNEL_CHECK(to_string(again->front()) == written);
  }
}

void scope_map(std::string_view line) {
  const auto grant = parse_scope_map_action(line);
  if (!grant) return;
  RUNNEL_CHECK(check_pattern(grant->pattern).has_value());
  RUNNEL_CHECK(to_scope_map_actions({*grant}) == std::vector{std::string(line)});
}

void htpasswd(std::string_view text) {
  const auto people = parse_htpasswd(text, "people");
  if (!people) {
    RUNNEL_CHECK(people.error().message.starts_with("people:"));
    return;
  }
  std::string again;
  for (const auto& [name, hash] : *people) again += name + ":" + hash + "\n";
  RUNNEL_CHECK(parse_htpasswd(again, "people") == *people);
}

std::string sign(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac;
  unsigned size = 0;
  ::HMAC(::EVP_sha256(), kKey.data(), static_cast<int>(kKey.size()),
         reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), &size);
  return to_base64url({reinterpret_cast<const char*>(mac.data()), size});
}

void check_equal(const Claims& a, const Claims& b) {
  RUNNEL_CHECK(a.principal == b.principal && a.use == b.use && a.expires == b.expires);
  RUNNEL_CHECK(a.images == b.images && a.password_mark == b.password_mark);
  RUNNEL_CHECK(a.limit.has_value() == b.limit.has_value());
  if (!a.limit) return;
  RUNNEL_CHECK(a.limit->size() == b.limit->size());
  for (size_t i = 0; i < a.limit->size(); ++i) check_same_or_more((*a.limit)[i], (*b.limit)[i]);
}

void claims(std::string_view text) {
  const TokenSigner signer(kKey, "here");
  RUNNEL_CHECK(!signer.verify(text, kNow));
  const auto head = to_base64url(kHeader) + "." + to_base64url(text);
  const auto parsed = signer.verify(head + "." + sign(head), kNow);
  if (!parsed) {
    RUNNEL_CHECK(parsed.error().code == runnel::Code::kDenied);
    return;
  }
  RUNNEL_CHECK(parsed->expires > kNow && parsed->images.size() <= kMaxImages);
  const auto again = signer.verify(signer.sign(*parsed, kNow), kNow);
  if (!again) return;  // too long now
  check_equal(*parsed, *again);
}

void base64url(std::string_view text) {
  RUNNEL_CHECK(from_base64url(to_base64url(text)) == text);
  if (const auto read = from_base64url(text))
    RUNNEL_CHECK(from_base64url(to_base64url(*read)) == *read);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto text = runnel::as_text(std::as_bytes(std::span(data, size)));
  scopes(text);
  scope_map(text);
  htpasswd(text);
  claims(text);
  base64url(text);
  return 0;
}
