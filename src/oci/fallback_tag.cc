#include "oci/fallback_tag.h"

namespace runnel::oci {

std::string fallback_tag(const Digest& subject) {
  return fmt::format("{}-{}", to_string(subject.algorithm()), subject.hex().substr(0, 64));
}

}  // namespace runnel::oci
