// What our registry says of an image's streaming artifact beside the image's manifest, to a node
// that asks for it: which blob to read first. Two round trips (referrers, the artifact's manifest)
// come before that otherwise.
//
//   request   Runnel-Ask: boot-blob
//   answer    Runnel-Boot-Blob: sha256:<64 hex>; size=<bytes>; head=<bytes>; base=sha256:<64 hex>
//
// A hint is nobody's proof: what comes is used only after the artifact that names it was found and
// trusted the ordinary way. An answer without it is the ordinary one of any registry.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "oci/digest.h"

namespace runnel::artifact {

inline constexpr const char* kAskHeader = "Runnel-Ask";
inline constexpr const char* kAskBootBlob = "boot-blob";
inline constexpr const char* kBootBlobHeader = "Runnel-Boot-Blob";

struct BootHint {
  oci::Digest blob;
  uint64_t size = 0;  // of `blob`, 1 or more
  uint64_t head = 0;  // of these, what comes before the tables; kMaxHeadSize at most
  oci::Digest base;   // the artifact's blob of the lowest layer

  bool operator==(const BootHint&) const = default;
};

std::string to_header(const BootHint& hint);
// kInvalid for anything that to_header() does not write.
Result<BootHint> parse_boot_hint(std::string_view header);

}  // namespace runnel::artifact
