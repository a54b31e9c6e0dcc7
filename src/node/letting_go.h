// Finds the images that stream for nobody for too long: a client fetched a manifest and pulled
// nothing, all its layers were there before, or whoever asked for it went away. Each has a mount, a
// metadata image on disk, and its layers' place in the cache.
//
// Looked at again and again rather than noted at each of the events that may leave an image behind:
// one that is forgotten there would stay for ever.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "oci/digest.h"

namespace runnel::node {

// Any thread may call any method; start() and stop() one thread. look() calls `unused` and
// `let_go`.
class LettingGo {
 public:
  // Images, by manifest, that nobody uses now.
  using Unused = std::function<std::vector<oci::Digest>()>;
  // May find that it is used again; blocks, for a bounded time.
  using LetGo = std::function<void(const oci::Digest&)>;

  // An image is let go when `unused` had it for `patience` without a break. `clock` must outlive
  // this.
  LettingGo(const Clock& clock, Duration patience, Unused unused, LetGo let_go);
  ~LettingGo() { stop(); }

  // The thread looks four times in `patience`, until stop(), which waits for a look under way.
  void start();
  void stop();

  // Somebody asked for the image: its time begins anew.
  void wanted(const oci::Digest& manifest);
  void look();

 private:
  void run();

  const Clock& clock_;
  const Duration patience_;
  const Unused unused_;
  const LetGo let_go_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<oci::Digest, SteadyTime> since_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace runnel::node
