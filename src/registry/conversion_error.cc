#include "registry/conversion_error.h"

#include "base/log.h"

namespace runnel::registry {

ConversionFailure::ConversionFailure(const Error& error) : ConversionFailure(unknown_error()) {
  given_up = error.code == Code::kCancelled;
  if (!given_up) log::error("conversion: {}", error.message);
}

ConversionFailure unknown_error() {
  return {"UNKNOWN_ERROR", "Conversion operation failed due to an unknown error."};
}

ConversionFailure resource_not_found() {
  return {"RESOURCE_NOT_FOUND", "Conversion operation failed because target resource isn't found."};
}

ConversionFailure unsupported_platform() {
  return {"UNSUPPORTED_PLATFORM", "Conversion isn't currently supported for image platform."};
}

ConversionFailure no_supported_platform_found() {
  return {"NO_SUPPORTED_PLATFORM_FOUND",
          "Conversion isn't currently supported for any of the image platforms in the index."};
}

ConversionFailure unsupported_media_type() {
  return {"UNSUPPORTED_MEDIATYPE", "Conversion isn't supported for the image MediaType."};
}

ConversionFailure unsupported_artifact_type() {
  return {"UNSUPPORTED_ARTIFACT_TYPE", "Conversion isn't supported for the image ArtifactType."};
}

ConversionFailure image_not_runnable() {
  return {"IMAGE_NOT_RUNNABLE", "Conversion isn't supported for nonrunnable images."};
}

ConversionFailure worker_failure(const Error& error) {
  switch (error.code) {
    case Code::kInvalid:
    case Code::kUnsupported: return {"LAYER_INVALID", error.message};
    case Code::kExhausted: return {"LIMIT_EXCEEDED", error.message};
    default: return error;
  }
}

}  // namespace runnel::registry
