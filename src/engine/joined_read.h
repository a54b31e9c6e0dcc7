// A read of a file whose bytes lie on several layers, or in holes.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "cache/layer.h"
#include "engine/image_tree.h"
#include "engine/node_table.h"

namespace runnel::engine {

// Reads all pieces at once and hands their bytes, joined, to `done`, once: when the last has come,
// or has failed; then with the first error. The bytes are there until it returns. `files` by
// Piece::layer. May wait for the disk.
void read_joined(const std::vector<Piece>& pieces,
                 const std::vector<std::shared_ptr<const LayerFile>>& files, const Patience& until,
                 std::function<void(const Result<Bytes>&)> done);

}  // namespace runnel::engine
