// Finds what is kept for nobody for too long: images that stream although a client fetched a
// manifest and pulled nothing, all layers were there before, or whoever asked went away (each has a
// mount, a metadata image on disk, and its layers' place in the cache); and mounts that no
// container uses any more (idle_mounts.h).
//
// Looked at again and again rather than noted at each of the events that may leave one behind: what
// is forgotten there would stay for ever.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "oci/digest.h"

namespace runnel::node {

// Any thread may call any method; start() and stop() one thread. look() calls `unused` and
// `let_go`. `Key` names what is kept: oci::Digest (an image's manifest) and std::string (a mount)
// are instantiated.
template <class Key>
class LettingGo {
 public:
  // What nobody uses now.
  using Unused = std::function<std::vector<Key>()>;
  // May find that it is used again; blocks, for a bounded time.
  using LetGo = std::function<void(const Key&)>;

  // Something is let go when `unused` had it for `patience` without a break. `clock` must outlive
  // this.
  LettingGo(const Clock& clock, Duration patience, Unused unused, LetGo let_go);
  ~LettingGo() { stop(); }

  // The thread looks four times in `patience`, until stop(), which waits for a look under way.
  void start();
  void stop();

  // Somebody asked for it: its time begins anew.
  void wanted(const Key& key);
  void look();

 private:
  void run();

  const Clock& clock_;
  const Duration patience_;
  const Unused unused_;
  const LetGo let_go_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, SteadyTime> since_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace runnel::node
