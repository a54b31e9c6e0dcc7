// Why an image streams or does not: the same words in status, logs and errors.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace runnel::node {

enum class Reason : uint8_t {
  kStreaming,
  kNoArtifact,
  kArtifactNotTrusted,
  kArtifactCorrupt,
  kUnsupportedFormat,
  kUnsupportedPlatform,
  kRegistryNotConfigured,
  kCredentialsMissing,
  kEngineUnavailable,
  kDiskFull,
  kAlreadyUnpacked,
  kSourceUnavailable,
};

// "Streaming", "NoArtifact", … (docs/interfaces.md).
const char* to_string(Reason reason);

// A verdict on one image.
struct Verdict {
  Reason reason = Reason::kNoArtifact;
  std::string detail;  // a sentence for a person; empty when the reason says it all
};

// What an error met while preparing an image means for it.
Verdict verdict_of(const Error& error);

}  // namespace runnel::node
