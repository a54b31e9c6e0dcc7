// Why a conversion failed, in the API's words.
//
// The codes and texts that clients of this API know are fixed (docs/registry.md, "Conversion");
// two of our own say what is wrong with a layer, and which limit it exceeds.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "base/error.h"

namespace runnel::registry {

// What a Failed operation carries. Made from an Error when something failed that is not the
// image's fault; so RUNNEL_TRY works in functions that return a Convertible.
struct ConversionFailure {
  ConversionFailure(std::string_view failure_code, std::string_view failure_message)
      : code(failure_code), message(failure_message) {}
  // UNKNOWN_ERROR; the error's own words are for the log.
  ConversionFailure(const Error& error);  // NOLINT: implicit on purpose

  std::string code;
  std::string message;
  // Nobody wants the conversion any more: it is no failure.
  bool given_up = false;
};

template <class T>
using Convertible = std::expected<T, ConversionFailure>;

// UNKNOWN_ERROR
ConversionFailure unknown_error();
// RESOURCE_NOT_FOUND: the digest is not in the repository (any more).
ConversionFailure resource_not_found();
// UNSUPPORTED_PLATFORM
ConversionFailure unsupported_platform();
// NO_SUPPORTED_PLATFORM_FOUND: in an index.
ConversionFailure no_supported_platform_found();
// UNSUPPORTED_MEDIATYPE: neither an image manifest nor an index.
ConversionFailure unsupported_media_type();
// UNSUPPORTED_ARTIFACT_TYPE: a streaming artifact.
ConversionFailure unsupported_artifact_type();
// IMAGE_NOT_RUNNABLE: an artifact that is no container image.
ConversionFailure image_not_runnable();
// What a worker said of a layer: LAYER_INVALID, LIMIT_EXCEEDED, or as the constructor above.
ConversionFailure worker_failure(const Error& error);

}  // namespace runnel::registry
