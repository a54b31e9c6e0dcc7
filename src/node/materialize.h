// Brings the layers of a streamed image into containerd's content store, from where export, push,
// save and builds take them. A streamed pull leaves them out: nothing of it needs them.
#pragma once

#include <functional>

#include "base/clock.h"
#include "base/error.h"
#include "node/image_jobs.h"
#include "node/registries.h"

namespace runnel::node {

// Blocks until every layer is there. kNotFound when containerd does not know the image or a
// registry does not have a layer any more. What an interrupted call brought is gone on with.
Result<ImageProgress> materialize(const ImageRequest& request, Registries& registries,
                                  const Clock& clock,
                                  const std::function<void(const ImageProgress&)>& progress);

}  // namespace runnel::node
