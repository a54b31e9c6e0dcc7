// A startup profile: the chunks that an image's start read, in the order of their first read. A
// node records it, and whoever makes the image's boot blob anew puts those chunks into the hot pack
// in that order. It can change order and prefetch only, never content.
//
//    {"version": 1,
//     "image": "registry.example/team/app@sha256:…",       which start was recorded; for people
//     "layers": ["sha256:…", …],                           layer blobs
//     "chunks": [[0, 17], [1, 3], …]}                      layer by index, chunk
//
// Chunks count within a layer blob, so a profile also fits another image as far as that has the
// same layer blobs; what does not fit is left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "oci/digest.h"

namespace runnel::artifact {

inline constexpr uint64_t kMaxProfileBytes = 16 << 20;
inline constexpr size_t kMaxProfileChunks = 1 << 18;

struct Profile {
  struct Chunk {
    uint16_t layer = 0;  // in `layers`
    uint32_t chunk = 0;

    bool operator==(const Chunk&) const = default;
  };

  std::string image;
  std::vector<oci::Digest> layers;
  std::vector<Chunk> chunks;

  bool operator==(const Profile&) const = default;
};

std::string to_json(const Profile& profile);
// kInvalid says what is wrong; kUnsupported for a version that this program does not know.
Result<Profile> parse_profile(Bytes json);

}  // namespace runnel::artifact
