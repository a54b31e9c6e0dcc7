// Which containers run on which image, and whether they stream: answered from the snapshots' keys,
// which are containerd's container IDs, and the chains that they stand on.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "node/images.h"
#include "snapshot/store.h"

namespace runnel::node {

struct ContainerStatus {
  std::string id;
  std::string name_space;  // containerd's
  std::string image;       // HOST/REPOSITORY@DIGEST; empty when this node did not see it pulled
  std::string reference;   // as it was pulled, when the client of containerd said so
  Verdict verdict;
  std::string engine;          // "erofs-file", …; "overlayfs" when nothing of it streams
  size_t layers = 0;           // committed snapshots below it
  size_t streamed_layers = 0;  // the lowest of them
  uint64_t bytes = 0;          // of the streamed layers' content
  uint64_t present = 0;        // of those, on this node
  uint64_t fetched = 0;        // over the network, compressed; the image's boot blob included
};

// Every active snapshot that is a container's: not those that containerd unpacks a layer into.
Result<std::vector<ContainerStatus>> list_containers(const snapshot::Store& store,
                                                     const Images& images,
                                                     const engine::Engine& engine);

}  // namespace runnel::node
