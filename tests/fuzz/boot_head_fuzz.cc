// Any bytes as the head of a boot blob: it is refused, or it is consistent and reads back from what
// is written of it.
//
// Seeds: make_boot_corpus.py.
//
// links: artifact
#include <cstddef>
#include <cstdint>
#include <span>

#include "artifact/boot_blob.h"

using runnel::Bytes;
using namespace runnel::artifact;

namespace {

constexpr uint64_t kImageLimit = 1 << 20;  // so that a run is not all allocation

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes input = std::as_bytes(std::span(data, size));
  if (size >= 56 && runnel::load_le<uint64_t>(input.data() + 48) > kImageLimit) return 0;
  const auto head = parse_head(input);
  if (!head) return 0;
  const auto in_place = parse_head_without_image(input);
  RUNNEL_CHECK(in_place.has_value() && in_place->image.empty());
  RUNNEL_CHECK(unpack_image(in_place->stored, input).value() == head->image);
  for (const auto& hot : head->hot) RUNNEL_CHECK(head->layers.at(hot.layer).slot != 0);
  for (const size_t i : records_with_tables(head->layers)) {
    RUNNEL_CHECK(head->layers[i].device_blocks != 0);
  }
  const auto again = parse_head(serialize_head(*head));
  RUNNEL_CHECK(again.has_value());
  RUNNEL_CHECK(again->layers == head->layers && again->hot == head->hot);
  RUNNEL_CHECK(again->image == head->image && again->generation == head->generation);
  return 0;
}
