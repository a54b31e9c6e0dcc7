// The holder: the small parent process that keeps the FUSE connection while workers come and go.
//
// As long as one process has the /dev/fuse descriptor open, reads of a dead worker's files wait
// instead of failing, and the next worker answers them. So the holder does next to nothing that
// could kill it: one thread, no network, nothing allocated in its loop, memory locked, last in line
// for the OOM killer. It mounts ROOT/devices, starts the worker, starts it again when it dies (at
// once, then with growing pauses), hands signals on, and reaps. Where systemd keeps descriptors for
// us (FileDescriptorStoreMax=), they survive the holder too.
//
// The worker dies with the holder (it gets SIGKILL): two workers never serve one connection.
//
// SIGHUP starts a new version: the program at the same path is asked whether it can run (`check`),
// the worker is told to end, and the holder replaces itself by exec(2), descriptors, blocked
// signals and the lock of the root (root_lock.h) included. Whoever reads or calls meanwhile waits;
// a read not longer than otherwise (watch.h), whatever keeps the worker from its end.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "engine/fuse_connection.h"
#include "engine/handover.h"

namespace runnel::engine {

struct HolderOptions {
  std::string root;  // as the kernel names it: absolute, without links
  // Command lines; [0] is the path of the program.
  std::vector<std::string> worker;
  std::vector<std::string> reload;  // the holder's own; empty: SIGHUP is ignored
  std::vector<std::string> check;   // ends with exit code 0 when `reload` may be tried
  int read_timeout_s = 60;          // how long a worker may show no sign of life; see watch.h
};

// Blocks the signals that run_holder() waits for, which does so itself: what comes between the two
// waits, instead of ending the process and not the connection that it was handed. Call it first of
// all, before any thread is started.
void block_signals_of_holder();

// Runs until SIGTERM or SIGINT (handed on to the worker, which gets 30 seconds to end; one that
// cannot be killed ten seconds later is left to the kernel). A worker that ends otherwise, whatever
// its exit code, is replaced. Only where none has ever run for five seconds or been killed, and no
// earlier holder left readers, one that ends by itself is the end: workers cannot start here.
//
// Returns the exit code of the program; 1, and nothing was touched, when another process uses the
// root. `handover` is what an earlier holder or systemd kept, and what else the workers need
// (listening sockets). Call it before any thread is started.
int run_holder(const HolderOptions& options, Handover handover);

// In the worker: takes the FUSE connection that the holder handed over. kNotFound when this process
// has no holder.
Result<FuseChannel> take_channel(Handover& handover);

// In the worker: how many workers this one's holder had before it.
unsigned worker_restarts();

}  // namespace runnel::engine
