// Any bytes as the parts of a request that the registry itself reads: path, Range, Content-Range.
//
// links: registry
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "registry/byte_range.h"
#include "registry/route.h"

namespace registry = runnel::registry;

namespace {

void range(std::string_view header, uint64_t size) {
  const auto answer = registry::range_of(header, size);
  if (const auto* part = std::get_if<registry::ByteRange>(&answer))
    RUNNEL_CHECK(part->first <= part->last && part->last < size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto text = runnel::as_text(std::as_bytes(std::span(data, size)));
  for (const uint64_t blob : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, ~uint64_t{0}})
    range(text, blob);
  if (const auto part = registry::parse_content_range(text))
    RUNNEL_CHECK(part->first <= part->last && part->size() > 0);
  if (const auto route = registry::parse_route(text)) {
    using Kind = registry::Route::Kind;
    const bool of_a_repository = route->kind != Kind::kBase && route->kind != Kind::kCatalog;
    RUNNEL_CHECK(of_a_repository != route->repository.empty());
    RUNNEL_CHECK(route->target.find('/') == std::string::npos);
  }
  return 0;
}
