// Makes the layers of artifacts that somebody pushed once more, before anybody needs them.
//
// An artifact that comes with another signature than ours (`runnel convert`) says which layer blob
// is which layer's. We do not take its word: what we make of it has our signature. So the first
// vote for the image would wait until all its layers were converted. Here that is done as soon as
// the artifact is pushed. What comes out is only hashed: where it is the blob that was pushed, that
// blob counts from then on as one that we made (converted_layers.h); where it is another, nothing
// changes, and whoever needs the layer converts it.
//
// It goes on while nobody's conversion waits or runs, a layer at a time, with what processors
// others leave. What a process did not get to before it ended is left to the first vote.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "meta/operation_queue.h"
#include "registry/image_conversion.h"

namespace runnel::registry {

// Any thread may call any method.
class PushedLayers {
 public:
  // The references must outlive it.
  PushedLayers(const ConversionTools& tools, meta::OperationQueue& queue);
  // Gives up what is under way.
  ~PushedLayers();

  // An artifact of the image, or of the images of the index, is there. Returns at once.
  void pushed(const std::string& repository, const oci::Digest& image);

 private:
  void run(const std::stop_token& stop);
  void check(const std::string& repository, const oci::Digest& image, const std::stop_token& stop);
  // Until nobody's conversion waits or runs. False when it is to stop.
  bool wait_for_rest(const std::stop_token& stop);

  const ConversionTools& tools_;
  meta::OperationQueue& queue_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<std::pair<std::string, oci::Digest>> waiting_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace runnel::registry
