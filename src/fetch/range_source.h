// One blob somewhere, read in ranges: what the engine and the prefetcher ask of the network.
//
// Reads do not block. An engine thread starts one and goes on; the answer comes on a thread of the
// source. The alternative, a blocking read, would tie a thread to every page fault in flight.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"

namespace runnel::fetch {

// In the order in which requests are served; a lower one never delays a higher one.
enum class Priority : uint8_t {
  kDemand,      // somebody's read() waits for it
  kPrefetch,    // the image's start will read it
  kBackground,  // filling the cache
};
inline constexpr size_t kPriorities = 3;

// "demand", "prefetch", "background".
const char* to_string(Priority priority);

// Any thread may call any method.
class RangeSource {
 public:
  using Done = std::function<void(Result<Buffer>)>;

  virtual ~RangeSource() = default;

  // The blob's size in bytes, as its descriptor says.
  virtual uint64_t size() const = 0;

  // How long an answer took at best, lately, from the request to its first byte; zero when that is
  // not known. What reading ahead can save.
  virtual Duration round_trip() const = 0;

  // When bytes of the blob came last, of whatever range and not necessarily all that was asked
  // for; the clock's beginning when none did, or that is not known. Takes no lock.
  virtual SteadyTime heard_at() const { return {}; }

  // Whether a background read would be sent now, and not wait until others have what they wait for.
  // Takes no lock.
  virtual bool takes_background() const { return true; }

  // Starts reading [offset, offset + length), which must be inside the blob (kInvalid otherwise).
  //
  // `done` is called exactly once, on a thread of the source and never from inside read(): with
  // exactly `length` bytes, or with the error, and at the deadline at the latest. It must not block
  // and must not throw; it may call read().
  //
  // The bytes are what the server said they are: the caller verifies them.
  //
  // kNotFound and kDenied come at once (the blob is gone; the credentials do not reach it), and so
  // does what the server makes impossible; kUnavailable when the time was used up, kCancelled when
  // the source was shut down. Reading a range again that is still queued, with a higher priority,
  // raises it.
  virtual void read(uint64_t offset, uint64_t length, Priority priority, SteadyTime deadline,
                    Done done) = 0;

  struct Part {
    uint64_t offset = 0;
    uint64_t length = 0;
    Done done;
  };
  // The same as a read() of each, known to the source at once: neighbours can share a request.
  virtual void read_each(std::vector<Part> parts, Priority priority, SteadyTime deadline) {
    for (auto& part : parts) {
      read(part.offset, part.length, priority, deadline, std::move(part.done));
    }
  }
};

}  // namespace runnel::fetch
