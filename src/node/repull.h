// Makes an image stream that containerd unpacked the ordinary way: its snapshots go, and containerd
// asks for them anew. Nothing is removed before it is sure that the image would stream.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/error.h"
#include "node/image_jobs.h"
#include "node/images.h"
#include "node/snapshot_exchange.h"

namespace runnel::node {

// Blocks. Layers that another image stands on stay unpacked, and so does everything below them.
// kConflict, with the containers, when something uses the image, or with the reason when it would
// not stream; kCancelled when it was told to stop before anything was removed, after that it goes
// on to its end; kNotFound when containerd does not have it in that namespace.
Result<ImageProgress> repull(const ImageRequest& request, Images& images,
                             const IsUnpacked& is_unpacked,
                             const std::function<void(const ImageProgress&)>& progress,
                             const std::stop_token& stop);

}  // namespace runnel::node
