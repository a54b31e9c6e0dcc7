#include "node/reason.h"

namespace runnel::node {

const char* to_string(Reason reason) {
  switch (reason) {
    case Reason::kStreaming: return "Streaming";
    case Reason::kNoArtifact: return "NoArtifact";
    case Reason::kArtifactNotTrusted: return "ArtifactNotTrusted";
    case Reason::kArtifactCorrupt: return "ArtifactCorrupt";
    case Reason::kUnsupportedFormat: return "UnsupportedFormat";
    case Reason::kUnsupportedPlatform: return "UnsupportedPlatform";
    case Reason::kRegistryNotConfigured: return "RegistryNotConfigured";
    case Reason::kCredentialsMissing: return "CredentialsMissing";
    case Reason::kEngineUnavailable: return "EngineUnavailable";
    case Reason::kDiskFull: return "DiskFull";
    case Reason::kAlreadyUnpacked: return "AlreadyUnpacked";
    case Reason::kSourceUnavailable: return "SourceUnavailable";
  }
  return "Unknown";
}

Verdict verdict_of(const Error& error) {
  const auto reason = [&] {
    switch (error.code) {
      case Code::kInvalid: return Reason::kArtifactCorrupt;
      case Code::kDenied: return Reason::kArtifactNotTrusted;
      case Code::kUnsupported: return Reason::kUnsupportedFormat;
      case Code::kExhausted: return Reason::kDiskFull;
      case Code::kExists: return Reason::kAlreadyUnpacked;
      default: return Reason::kSourceUnavailable;
    }
  }();
  return {.reason = reason, .detail = error.message};
}

}  // namespace runnel::node
