// Any bytes as the documents of an artifact: its manifest, a layer blob's footer, a startup profile
// that somebody tells the registry. What is accepted is within its limits, and comes back equal
// when it is written and read again; so does what the registry makes of several profiles.
//
// links: artifact
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "artifact/artifact.h"
#include "artifact/boot_blob.h"
#include "artifact/layer_blob.h"
#include "artifact/merged_profile.h"
#include "artifact/profile.h"
#include "oci/document.h"

using runnel::as_bytes;
using runnel::Bytes;
namespace oci = runnel::oci;
using namespace runnel::artifact;

namespace {

void manifest(Bytes bytes) {
  const auto document = oci::parse_manifest(bytes);
  if (!document) return;
  auto parsed = parse_artifact(*document);
  if (!parsed) return;
  RUNNEL_CHECK(parsed->layers.size() <= kMaxLayers);
  RUNNEL_CHECK(parsed->head_size > 0 && parsed->head_size <= parsed->boot_size);
  RUNNEL_CHECK(parsed->head_size <= kMaxHeadSize);
  const auto written = oci::parse_manifest(as_bytes(oci::to_json(to_manifest(*parsed))));
  RUNNEL_CHECK(written.has_value());
  // What is not written: more of the subject than what it is, a signature without a key.
  parsed->subject = {.media_type = parsed->subject.media_type,
                     .digest = parsed->subject.digest,
                     .size = parsed->subject.size};
  if (parsed->key_id.empty()) parsed->signature.clear();
  RUNNEL_CHECK(parse_artifact(*written) == *parsed);
}

void footer(Bytes bytes) {
  if (bytes.size() != kLayerFooterSize) return;
  // The size that would fit, and one that does not.
  const auto table_offset = runnel::load_le<uint64_t>(bytes.data() + 32 + 56);
  const auto table_size = runnel::load_le<uint64_t>(bytes.data() + 32 + 64);
  const uint64_t size = table_offset + table_size + kLayerFooterSize;
  RUNNEL_CHECK(!parse_layer_footer(bytes, size - 1) || !parse_layer_footer(bytes, size));
  const auto parts = parse_layer_footer(bytes, size);
  if (!parts) return;
  RUNNEL_CHECK(parts->tree_offset <= parts->table_offset && parts->table_offset < size);
  RUNNEL_CHECK(parts->table_size <= kMaxTableSize && parts->tree_stored <= kMaxTreeStored);
  runnel::ByteWriter written;
  write_parts(written, *parts);
  RUNNEL_CHECK(std::ranges::equal(written.view(), bytes.subspan(32, written.size())));
}

void check_reads_back(const Profile& profile) {
  RUNNEL_CHECK(profile.layers.size() <= kMaxLayers && profile.chunks.size() <= kMaxProfileChunks);
  for (const auto& each : profile.chunks) RUNNEL_CHECK(each.layer < profile.layers.size());
  RUNNEL_CHECK(parse_profile(as_bytes(to_json(profile))) == profile);
}

// Another node's view of the same image, and one of another.
std::vector<Profile> votes_around(const Profile& profile) {
  Profile turned = profile;
  std::ranges::reverse(turned.layers);
  Profile other = profile;
  for (auto& layer : other.layers) layer = oci::Digest::of(as_bytes(layer.to_string()));
  return {profile, turned, other};
}

void profile(Bytes bytes) {
  const auto parsed = parse_profile(bytes);
  if (!parsed) {
    RUNNEL_CHECK(parsed.error().message.size() < 4000);
    return;
  }
  check_reads_back(*parsed);
  const auto merged = merge_profiles(votes_around(*parsed));
  check_reads_back(merged);
  // Everything once.
  std::set<std::pair<uint16_t, uint32_t>> chunks;
  for (const auto& each : merged.chunks)
    RUNNEL_CHECK(chunks.emplace(each.layer, each.chunk).second);
  RUNNEL_CHECK(merge_profiles({{merged}}) == merged);
  RUNNEL_CHECK(difference(*parsed, merge_profiles({{*parsed}})) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes bytes = std::as_bytes(std::span(data, size));
  manifest(bytes);
  footer(bytes);
  profile(bytes);
  return 0;
}
