// snapshot/ is containerd's snapshotter: it gives every layer and container its file system,
// streamed where the node offers that, overlayfs directories otherwise.
//
//   streaming.h    what it asks of the streaming side
//   store.h        the snapshots' records, in SQLite
//   snapshotter.h  what each call does: directories, mounts, Streaming
//   service.h      the gRPC service in front of it
//   cri_images.h   a client of the CRI's image service
//
// It does not hold: anything about artifacts, registries or how a streamed tree is mounted (node/).
// It is the only folder with gRPC.
//
// This file is the words that they share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "snapshot/streaming.h"

namespace runnel::snapshot {

enum class Kind : uint8_t { kView = 1, kActive = 2, kCommitted = 3 };  // as on the wire

struct Info {
  std::string name;
  std::string parent;  // empty for none
  Kind kind = Kind::kActive;
  WallTime created{};
  WallTime updated{};
  Labels labels;

  bool operator==(const Info&) const = default;
};

// One mount of the list that makes a snapshot's file system.
struct Mount {
  std::string type;  // "bind" or "overlay"
  std::string source;
  std::vector<std::string> options;

  bool operator==(const Mount&) const = default;
};

// Names, in a request's labels, the chain ID that the key will become.
inline constexpr const char* kTargetLabel = "containerd.io/snapshot.ref";

}  // namespace runnel::snapshot
