#include "registry/request_body.h"

namespace runnel::registry {

namespace {

constexpr size_t kUnannounced = 64 * 1024;

Error too_large(size_t limit) {
  return {Code::kExhausted, fmt::format("the body has more than {} bytes", limit)};
}

}  // namespace

net::awaitable<Result<Buffer>> read_whole(net::RequestBody& body, size_t limit) {
  const auto announced = body.content_length();
  if (announced.value_or(0) > limit) co_return std::unexpected(too_large(limit));
  Buffer bytes(announced.value_or(kUnannounced) + 1);  // one more, to see the end
  size_t filled = 0;
  while (true) {
    const auto count = co_await body.read(MutableBytes(bytes).subspan(filled));
    if (!count) co_return std::unexpected(count.error());
    if (*count == 0) break;
    filled += *count;
    if (filled > limit) co_return std::unexpected(too_large(limit));
    if (filled == bytes.size()) bytes.resize(bytes.size() * 2);
  }
  bytes.resize(filled);
  co_return bytes;
}

}  // namespace runnel::registry
