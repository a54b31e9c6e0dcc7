// That a root has one node: its holder has flock(2) on the directory ROOT for as long as it lives.
//
// On the directory and not on a file in it: nothing has to be made, so neither a full disk nor one
// that has turned read-only keeps a holder from taking over.
//
// A newer version that the holder becomes by exec(2) gets the descriptor (RUNNEL_ROOT_LOCK in the
// environment says which); no child may have it, or a worker that cannot be killed would keep the
// next holder from its readers. ROOT/cache/lock is another lock, of the worker.
#pragma once

#include <unistd.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "base/fd.h"

namespace runnel::engine {

class RootLock {
 public:
  // `root` exists. kConflict when another process has it. Before any thread is started.
  static Result<RootLock> take(const std::string& root);

  // In a child, before it becomes another program.
  void close_in_child() const { ::close(fd_.get()); }

 private:
  explicit RootLock(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace runnel::engine
