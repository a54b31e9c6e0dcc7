#include "registry/page_size.h"

#include <algorithm>
#include <charconv>

#include "base/quote.h"

namespace runnel::registry {

namespace {

constexpr size_t kPage = 100;
constexpr size_t kMaxPage = 1000;

}  // namespace

std::expected<size_t, Refusal> page_size(const net::Request& request) {
  const auto text = request.query.first("n").value_or("");
  if (text.empty()) return kPage;
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0)
    return refuse(400, "PAGINATION_NUMBER_INVALID", fmt::format("n={} is no number", quote(text)));
  return std::min(value, kMaxPage);
}

}  // namespace runnel::registry
