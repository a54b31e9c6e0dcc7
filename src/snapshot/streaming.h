// What the snapshotter asks of the streaming side: may this layer stay remote, and where is it
// mounted. The node implements it over cache and engine; tests use a fake.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/error.h"

namespace runnel::snapshot {

using Labels = std::map<std::string, std::string>;

struct Usage {
  uint64_t bytes = 0;
  uint64_t inodes = 0;

  bool operator==(const Usage&) const = default;
};

// A chain ID ("sha256:…") names the merged content of a layer and all layers below it, whichever
// image or namespace brought it.
//
// Any thread may call any method, several at once; every call is bounded in time. Calls about one
// chain ID are serialised by the snapshotter, so that a forget() never overtakes an offer(), except
// mount() and usage(), which may run beside each other.
class Streaming {
 public:
  virtual ~Streaming() = default;

  // Asked in Prepare, when the label containerd.io/snapshot.ref names the chain ID that the key
  // shall become. True: the content of `chain_id` can be mounted from now on, after a restart too;
  // the snapshotter commits a streamed snapshot and answers "already exists", which nobody can take
  // back. False: containerd takes the ordinary way. An error is logged and means false, but for
  // kCancelled, of a process that ends: then the call fails, and the pull is tried again. The
  // ordinary way would be lost: what one process prepares, another does not commit.
  //
  // `parent_chain` is the chain ID of the parent, empty for a first layer and for a parent whose
  // name does not say. `labels` are the ones that Prepare brought, the CRI's image labels included.
  virtual Result<bool> offer(const std::string& chain_id, const std::string& parent_chain,
                             const Labels& labels) = 0;

  // The process ends: offer() waits for nothing any more, and says kCancelled where it would have.
  virtual void begin_stop() {}

  // The directory at which the merged tree of an accepted chain is mounted read-only; mounts it
  // when it is not. Its path is a part of overlayfs's options: no ':', ',', '\\', and below the
  // snapshotter's root, or containerd cannot shorten a long list of lower directories. It stays
  // mounted at least until the next idle() or forget() of this chain.
  virtual Result<std::string> mount(const std::string& chain_id) = 0;

  // No active or view snapshot stands on this chain any more: the mount may go. It may be asked for
  // again at any time.
  virtual void idle(const std::string& chain_id) = 0;

  // No snapshot of this chain is left: what is kept for it may be deleted.
  virtual void forget(const std::string& chain_id) = 0;

  // What this one layer occupies on this machine now (not the layers below it).
  virtual Result<Usage> usage(const std::string& chain_id) = 0;
};

}  // namespace runnel::snapshot
