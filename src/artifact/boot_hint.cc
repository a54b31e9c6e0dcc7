#include "artifact/boot_hint.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "artifact/boot_blob.h"
#include "base/quote.h"

namespace runnel::artifact {

namespace {

constexpr size_t kMostShown = 200;

// What is before `separator`, which goes too; nothing when it is not there.
std::optional<std::string_view> cut(std::string_view& text, std::string_view separator) {
  const auto at = text.find(separator);
  if (at == text.npos) return std::nullopt;
  const auto before = text.substr(0, at);
  text.remove_prefix(at + separator.size());
  return before;
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<BootHint> read(std::string_view text) {
  const auto blob = cut(text, "; size=");
  const auto size_text = cut(text, "; head=");
  const auto head_text = cut(text, "; base=");
  if (!blob || !size_text || !head_text) return std::nullopt;
  const auto blob_digest = oci::Digest::parse(*blob);
  const auto size = number(*size_text);
  const auto head = number(*head_text);
  const auto base = oci::Digest::parse(text);
  if (!blob_digest || !size || !head || !base) return std::nullopt;
  if (*size == 0 || *head > std::min(*size, kMaxHeadSize)) return std::nullopt;
  return BootHint{.blob = *blob_digest, .size = *size, .head = *head, .base = *base};
}

}  // namespace

std::string to_header(const BootHint& hint) {
  return fmt::format("{}; size={}; head={}; base={}", hint.blob, hint.size, hint.head, hint.base);
}

Result<BootHint> parse_boot_hint(std::string_view header) {
  if (auto hint = read(header)) return *std::move(hint);
  return fail(Code::kInvalid, "{}: {} names no boot blob", kBootBlobHeader,
              quote(header.substr(0, kMostShown)));
}

}  // namespace runnel::artifact
