// The worker process: one job, on the descriptors that it was started with.
#pragma once

namespace runnel::convert {

// Descriptors of a worker: the socket to whoever started it; the pipe for a layer's blob, or the
// empty file for a boot blob; and the files to read (one layer, or an image's converted layers).
inline constexpr int kWorkerSocket = 3;
inline constexpr int kWorkerOutput = 4;
inline constexpr int kWorkerInputs = 5;

// What `runnel convert-worker` does. The exit status.
int run_worker();

}  // namespace runnel::convert
