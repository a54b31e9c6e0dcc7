// Where the time of a start went.
//
// Every moment of it is laid to one cause, so that the causes add up to the whole: to the read that
// has waited longest, when one waits; else to what the preparation of the image was at; else to the
// call of containerd that was under way; else to a request of containerd that we hand on; else to
// nobody here: containerd and the workload ran by themselves.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "timeline/events.h"
#include "timeline/phases.h"

namespace runnel::timeline {

// Something that somebody waited for, beginning to end; they may overlap.
struct Waiting {
  Us begin = 0;
  Us end = 0;
  std::string what;
  std::vector<Segment> phases;  // of it, in order, without gaps

  Us length() const { return end - begin; }
};

struct Traffic {
  std::string what;  // "manifest", "boot blob", "layer 3"
  size_t requests = 0;
  uint64_t bytes = 0;
  Us time = 0;  // from asked to ended, of all together
};

struct Saving {
  size_t chunks = 0;  // that reads waited for, or were fetched beside them
  uint64_t bytes = 0;
  Us waited = 0;    // on the critical path, for these
  Us transfer = 0;  // what they would take with the boot blob, at the best rate seen
  Us saved() const { return waited > transfer ? waited - transfer : 0; }
};

struct Timeline {
  Us begin = 0;  // of CLOCK_MONOTONIC
  Us end = 0;
  bool cut = false;              // by `until`, or because the start goes on
  std::vector<Segment> path;     // from begin to end, without gaps
  std::vector<Us> by_cause;      // kCauses; they add up to length()
  std::vector<Waiting> longest;  // at most ten
  std::vector<Segment> idle;     // the longest moments at which nobody waited for us, at most five
  std::vector<Traffic> traffic;  // most bytes first
  size_t requests = 0;
  size_t connections = 0;
  uint64_t bytes = 0;                        // of all requests
  std::optional<uint64_t> bytes_per_second;  // the best that a request of some size had
  size_t reads = 0;                          // first reads of chunks
  size_t reads_waited = 0;
  std::optional<Saving> saving;    // nothing when the start had no misses
  std::vector<std::string> notes;  // what the picture does not have, and why

  Us length() const { return end - begin; }
};

// `until`: microseconds after the beginning. Without it the start ends with the last first read
// before two seconds without one. kNotFound when nothing is known of a start.
Result<Timeline> analyse(const Events& events, std::optional<Us> until);

}  // namespace runnel::timeline
