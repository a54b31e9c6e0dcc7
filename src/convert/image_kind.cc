#include "convert/image_kind.h"

#include <algorithm>

#include "codec/layer_decoder.h"
#include "oci/media_types.h"

namespace runnel::convert {

bool calls_itself_image(const oci::Manifest& manifest) {
  return manifest.artifact_type.empty() && oci::is_image_config_type(manifest.config.media_type);
}

bool is_image(const oci::Manifest& manifest) {
  return calls_itself_image(manifest) &&
         std::ranges::all_of(manifest.layers, [](const oci::Descriptor& layer) {
           return codec::compression_of(layer.media_type).has_value();
         });
}

}  // namespace runnel::convert
