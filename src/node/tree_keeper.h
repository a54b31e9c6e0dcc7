// Makes the trees of streamed images local, a while after each began to stream: a merge of some of
// an image's layers must not need the registry later, and a start's first seconds belong to its
// reads.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "node/image_store.h"

namespace runnel::node {

// Any thread may call any method. One thread works; what fails is tried again every minute. An
// image that nobody else has any more is forgotten: it was let go, and when it comes again, at the
// same path, that start's first seconds are its own.
class TreeKeeper {
 public:
  // Brings what is missing of the image; blocks, for a bounded time.
  using Keep = std::function<Result<void>(const StreamedImage&)>;

  explicit TreeKeeper(Keep keep, Duration delay = std::chrono::seconds(10),
                      Duration retry = std::chrono::seconds(60));
  // Waits for a `keep` under way.
  ~TreeKeeper();

  void add(const std::shared_ptr<const StreamedImage>& image);

 private:
  struct Due {
    SteadyTime at;
    std::weak_ptr<const StreamedImage> image;
  };

  void run();

  const Keep keep_;
  const Duration delay_;
  const Duration retry_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Due> due_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace runnel::node
