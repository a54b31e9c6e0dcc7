// Any bytes as what clients on a node's machine say to it: paths of the mirror, tokens that pods
// show there, filters and ID mappings of containerd. No crash, bounded work, and what is understood
// means what it says.
//
// links: mirror snapshot
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "mirror/mirror.h"
#include "oci/oci.h"
#include "remote/shown_credentials.h"
#include "snapshot/filter.h"
#include "snapshot/id_mapping.h"

namespace mirror = runnel::mirror;
namespace oci = runnel::oci;
namespace remote = runnel::remote;
namespace snapshot = runnel::snapshot;

namespace {

void mirror_path(std::string_view path) {
  const auto target = mirror::parse_target(path);
  if (!target) return;
  RUNNEL_CHECK(oci::is_valid_repository(target->repository));
  RUNNEL_CHECK(oci::Digest::parse(target->reference) ||
               (target->manifest && oci::is_valid_tag(target->reference)));
  // Nothing of the path is lost: what is asked of the registry is what the client asked for.
  RUNNEL_CHECK(path == "/v2/" + target->repository +
                           (target->manifest ? "/manifests/" : "/blobs/") + target->reference);
}

void token(std::string_view text) {
  const auto expiry = remote::expiry_of_token(text);
  if (expiry) RUNNEL_CHECK(expiry->time_since_epoch().count() >= 0);
}

// Any text as a filter's string in double quotes.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return out + '"';
}

void filters(std::string_view text) {
  const std::vector<std::string> one = {std::string(text)};
  const snapshot::Info info{.name = "default/1/sha256:a",
                            .parent = "default/0/sha256:b",
                            .kind = snapshot::Kind::kCommitted,
                            .labels = {{"containerd.io/gc.root", "now"}, {"", "empty"}}};
  if (const auto parsed = snapshot::Filters::parse(one)) {
    const bool matches = parsed->match(info);
    if (const auto parent = parsed->parent(); parent && *parent != info.parent)
      RUNNEL_CHECK(!matches);
    // Any of several.
    const std::vector<std::string> twice = {one[0], "kind==active", one[0]};
    RUNNEL_CHECK(snapshot::Filters::parse(twice)->match(info) == matches);
  }
  if (text.size() > 1000) return;
  const auto exact = snapshot::Filters::parse(std::vector{"parent==" + quoted(text)});
  RUNNEL_CHECK(exact && exact->parent() == text);
  RUNNEL_CHECK(exact->match({.name = "x", .parent = std::string(text)}));
  RUNNEL_CHECK(!exact->match({.name = "x", .parent = std::string(text) + "x"}));
}

void id_ranges(std::string_view text) {
  const auto ranges = snapshot::parse_id_ranges(std::string(text));
  if (!ranges) return;
  RUNNEL_CHECK(!ranges->empty() && ranges->size() <= 340);
  std::string again;
  for (const auto& each : *ranges) {
    RUNNEL_CHECK(each.length > 0);
    RUNNEL_CHECK(uint64_t{each.host} + each.length - 1 <= UINT32_MAX);
    RUNNEL_CHECK(uint64_t{each.container} + each.length - 1 <= UINT32_MAX);
    RUNNEL_CHECK(snapshot::IdMapping::to_host(*ranges, each.container).has_value());
    again +=
        fmt::format("{}{}:{}:{}", again.empty() ? "" : ",", each.container, each.host, each.length);
  }
  const auto reread = snapshot::parse_id_ranges(again);
  RUNNEL_CHECK(reread && reread->size() == ranges->size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto text = runnel::as_text(std::as_bytes(std::span(data, size)));
  mirror_path(text);
  token(text);
  filters(text);
  id_ranges(text);
  return 0;
}
