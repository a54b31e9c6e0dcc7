// Runs a job over many connections from one thread, and measures it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "load_jobs.h"

struct ssl_ctx_st;

namespace runnel::bench {

struct RunOptions {
  uint16_t port = 0;
  ssl_ctx_st* tls = nullptr;  // null: plain
  size_t connections = 16;
  Duration warm_up{};  // not measured
  Duration at_most{};  // a job that ends earlier ends the run
};

struct Measured {
  uint64_t done = 0;
  uint64_t bytes = 0;  // of answers' bodies
  double seconds = 0;
  double cpu_seconds = 0;        // of the generator
  std::vector<float> latencies;  // microseconds, sorted

  double percentile(double share) const;
};

// An error when the server answers anything but what the job expects.
Result<Measured> run(const RunOptions& options, Job& job);

}  // namespace runnel::bench
