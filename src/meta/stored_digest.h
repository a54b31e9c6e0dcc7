// Internal to meta/: digests as they come out of a database.
#pragma once

#include <string_view>

#include "base/error.h"
#include "oci/digest.h"

namespace runnel::meta {

// They were checked on their way in; one that is wrong now is a damaged file: kUnavailable.
inline Result<oci::Digest> stored_digest(std::string_view text) {
  auto digest = oci::Digest::parse(text);
  if (digest) return digest;
  return fail(Code::kUnavailable, "metadata: damaged: {}", digest.error().message);
}

}  // namespace runnel::meta
