// What one wait is made of: the phases of a request or of a read, each with its cause, and the
// words for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "timeline/events.h"

namespace runnel::timeline {

enum class Cause : uint8_t {
  kQueue,      // the node had no connection free for a request
  kConnect,    // TCP and TLS
  kRoundTrip,  // the registry's answer had not begun
  kTransfer,   // bytes came
  kUnpack,     // decompression, verification
  kDisk,       // this machine's
  kToken,      // a token server, whatever it was at
  kRefused,    // credentials
  kFailed,
  kWork,     // the node prepared the image: its own processor time, mounts
  kCall,     // in a call of containerd, at none of the above
  kOutside,  // nobody waited for us
};
inline constexpr size_t kCauses = static_cast<size_t>(Cause::kOutside) + 1;
const char* to_string(Cause cause);
// What it means, for a legend.
const char* explain(Cause cause);

// A part of the critical path.
struct Segment {
  Us begin = 0;
  Us end = 0;
  Cause cause = Cause::kOutside;
  std::string what;  // "read /usr/bin/python3", "boot blob"

  Us length() const { return end - begin; }
};

// The whole of a request or read, by cause; clipped to [begin, end].
std::vector<Segment> phases_of(const Request& request, Us begin, Us end);

// How a read waited: `request` brought its bytes, null when that is not known.
std::vector<Segment> phases_of(const Read& read, const Request* request);

// "read /usr/bin/python3", and what the read waited for when it was not its own fetch.
std::string title_of(const Read& read);
std::string title_of(const Request& request);

}  // namespace runnel::timeline
