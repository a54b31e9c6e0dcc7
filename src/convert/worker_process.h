// Runs one job in a process of its own: what a layer's parser can be made to do ends with it.
//
// The process gets the descriptors of its job and a socket, and confines itself
// (worker_sandbox.h) before it reads the first byte of the layer. It is killed when its caller
// gives up, and dies with the caller's thread. A layer's blob comes out of it through a pipe and is
// handed on piece by piece, a boot blob is in a file that the caller made; nothing else of it
// stays.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "convert/worker_job.h"

namespace runnel::convert {

// The program to run, whose main calls run_worker() (worker_main.h).
struct WorkerProgram {
  std::string path = "/proc/self/exe";
  std::vector<std::string> arguments = {"runnel", "convert-worker"};
};

struct WorkerWatch {
  // Bytes of the source that are done.
  std::function<void(uint64_t)> progress = [](uint64_t) {};
  // Asked at least five times a second; true ends the job with kCancelled.
  std::function<bool()> give_up = [] { return false; };
  // For a message that has begun, on its way to or from the worker; `give_up` is not asked then.
  Duration message_timeout = std::chrono::seconds(10);
  // For a worker that neither says nor writes anything: as much as it has of processor time, which
  // one that sleeps never uses up.
  Duration silence_timeout = std::chrono::hours(1);
};

// Gets a blob from its first byte to its last; an error from it ends the job and comes out as it
// is.
using BlobTaker = std::function<Result<void>(Bytes)>;

// Both block until the job is done, on the thread that calls. Errors say what of the layer is
// wrong (kInvalid, kUnsupported), which limit it exceeds (kExhausted), or how the process died
// (kUnavailable). Descriptors stay the caller's.
//
// `taker` has had the whole blob when this succeeds; what it had before a failure is worth nothing.
Result<LayerDone> convert_in_worker(const WorkerProgram& program, const WorkerLimits& limits,
                                    uint32_t threads, const LayerJob& job, int source,
                                    const BlobTaker& taker, const WorkerWatch& watch);
// `output` is an empty file.
Result<BootDone> build_boot_in_worker(const WorkerProgram& program, const WorkerLimits& limits,
                                      const BootJob& job, const std::vector<int>& layers,
                                      int output, const WorkerWatch& watch);

}  // namespace runnel::convert
