// What happened in a container's start, as the node noted it. Times are microseconds of
// CLOCK_MONOTONIC, which all processes of a machine share.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace runnel::timeline {

using Us = int64_t;
inline constexpr Us kNone = -1;  // it has not come to that

// Who made a request, or will have what it brings.
enum class Who : uint8_t {
  kClient,      // containerd, through the mirror
  kNode,        // this node, to prepare the image
  kToken,       // this node, of a token server
  kDemand,      // a read waits
  kPrefetch,    // read-ahead
  kBackground,  // the fill
};

struct Request {
  uint64_t number = 0;
  Who who = Who::kNode;
  std::string what;  // "manifest", "boot blob", "layer 3"
  std::string method;
  std::string path;
  uint64_t first = 0;  // of its range; `last` is before it when it has none
  uint64_t last = 0;
  uint32_t layer = 0;  // whose blob it reads, from 1; 0: no layer's
  Us asked = kNone;
  Us sent = kNone;
  Us first_byte = kNone;
  Us ended = kNone;
  bool connected = false;  // on a new connection
  bool ranged = false;
  uint64_t bytes = 0;
  int status = 0;
  std::string error;
};

struct Span {
  enum class Kind : uint8_t {
    kPreparation,  // of the image, as a whole
    kStep,         // of it
    kCall,         // of containerd
  };
  Kind kind = Kind::kStep;
  std::string what;
  std::string detail;
  Us begin = kNone;
  Us end = kNone;
};

// The first read of a chunk.
struct Read {
  uint32_t layer = 0;  // from 1
  uint32_t chunk = 0;
  uint64_t blob_offset = 0;
  uint64_t stored = 0;  // bytes of the blob
  std::string file;     // printable; empty when it is not known
  Us at = kNone;
  Us arrived = kNone;  // the bytes, when the read waited for them
  Us ready = kNone;
  std::string origin;  // "before", "demand", "ahead", "hot pack", "fill", "original", "node"
  std::string wait;    // "none", "fetch", "joined", "check", "refused", "failed"
};

struct Events {
  std::string image;
  std::string container;  // its ID; empty when an image was asked about
  std::string reason;     // "Streaming", or why it does not
  Us now = kNone;
  Us worker_started = kNone;
  unsigned worker_restarts = 0;
  bool begun_before_worker = false;  // the image streams, and this worker did not prepare it
  uint64_t dropped = 0;              // events that there was no room for
  uint64_t boot_bytes = 0;
  std::vector<Request> requests;
  std::vector<Span> spans;
  std::vector<Read> reads;
};

const char* to_string(Who who);
const char* to_string(Span::Kind kind);

std::string to_json(const Events& events);
// kInvalid when it is not what to_json() makes.
Result<Events> parse_events(std::string_view text);

}  // namespace runnel::timeline
