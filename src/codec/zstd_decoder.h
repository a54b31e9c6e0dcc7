// The zstd half of LayerDecoder; made through LayerDecoder::make().
#pragma once

#include <memory>

#include "codec/layer_decoder.h"

namespace runnel::codec {

std::unique_ptr<LayerDecoder> make_zstd_decoder();

}  // namespace runnel::codec
