// Mounts of images that no container uses any more. They are kept for a while: what was read
// through one is in the kernel's memory as long as it lives, so that a container that starts again
// needs neither the disk nor the network, and not this process either. Not for ever, because a
// mount keeps its layers in the cache.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "engine/mounter.h"
#include "node/letting_go.h"

namespace runnel::node {

// Any thread may call any method, but for start() and stop(), which are for one. One call of
// `mount` or `unmount` at a time.
class IdleMounts {
 public:
  // No error when nothing is mounted there; kConflict while something uses it.
  using Unmount = std::function<Result<void>(const std::string& name, engine::WhenBusy)>;
  // `idle`: nobody used it until now.
  using Mount = std::function<Result<std::string>(bool idle)>;

  // A mount goes that was idle for `patience`. `clock` must outlive this.
  IdleMounts(const Clock& clock, Duration patience, Unmount unmount);

  // The thread that takes them away.
  void start() { letting_go_.start(); }
  void stop() { letting_go_.stop(); }
  // The same once.
  void look() { letting_go_.look(); }

  // Somebody is about to use it: returns what `mount` gives. From then on it stays until idle(),
  // unless that was an error.
  Result<std::string> use(const std::string& name, const Mount& mount);
  // The same for one that is used already: what `find` gives, and nothing when it was idle.
  std::optional<std::string> use_too(const std::string& name,
                                     const std::function<std::optional<std::string>()>& find);
  // Nobody uses it any more.
  void idle(const std::string& name);
  // It goes now, idle or not. What cannot is idle from then on, and is tried again: a scanner may
  // have a directory open.
  Result<void> unmount(const std::string& name);
  // The idle ones go now, but for those that something has open after all. Returns whether one did;
  // none does while something is being mounted, for which this does not wait.
  bool unmount_idle();

 private:
  std::vector<std::string> names() const;
  Result<bool> unmount_if_idle(const std::string& name);

  const Unmount unmount_;
  mutable std::mutex mutex_;  // held over `mount`, `find` and `unmount`
  std::set<std::string> idle_;
  LettingGo<std::string> letting_go_;
};

}  // namespace runnel::node
