// Any bytes as a manifest, index, image configuration, image name: no crash, and what is accepted
// comes back equal when it is written and read again.
//
// links: oci
#include <cstddef>
#include <cstdint>
#include <variant>

#include "base/error.h"
#include "oci/oci.h"

using runnel::as_bytes;
using runnel::as_text;
using runnel::Bytes;
namespace oci = runnel::oci;

namespace {

void document(Bytes bytes, std::string_view type) {
  const auto parsed = oci::parse_document(bytes, type);
  if (!parsed) return;
  const auto written = std::visit([](const auto& each) { return oci::to_json(each); }, *parsed);
  const auto again = oci::parse_document(as_bytes(written), oci::media_type(*parsed));
  RUNNEL_CHECK(again && *again == *parsed);
}

void image_config(Bytes bytes) {
  const auto config = oci::parse_image_config(bytes);
  if (config) RUNNEL_CHECK(oci::chain_ids(config->diff_ids).size() == config->diff_ids.size());
}

void reference(std::string_view text) {
  const auto parsed = oci::Reference::parse(text);
  if (!parsed) return;
  RUNNEL_CHECK(oci::is_valid_repository(parsed->repository));
  RUNNEL_CHECK(parsed->tag.empty() || oci::is_valid_tag(parsed->tag));
  RUNNEL_CHECK(oci::Reference::parse(parsed->to_string()) == *parsed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  document(bytes, "");
  document(bytes, oci::kOciManifest);
  document(bytes, oci::kOciIndex);
  image_config(bytes);
  reference(as_text(bytes));
  return 0;
}
