// What the node does to an image in containerd when somebody asks for it, and may take minutes:
// materialize (materialize.h) and repull (repull.h). It runs in the background, so that whoever
// asked can go away and ask again.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/worker_pool.h"

namespace runnel::node {

struct ImageRequest {
  std::string image;    // as containerd names it
  std::string address;  // containerd's socket
  std::string name_space = "k8s.io";

  auto operator<=>(const ImageRequest&) const = default;
};

struct ImageProgress {
  size_t layers = 0;       // of the image
  size_t layers_here = 0;  // of those, done
  uint64_t done = 0;       // bytes
  uint64_t total = 0;

  bool operator==(const ImageProgress&) const = default;
};

// Any thread may call any method.
class ImageJobs {
 public:
  using Progress = std::function<void(const ImageProgress&)>;
  // Blocks, for a bounded time; what it has not begun when the token says stop it does not begin.
  using Work = std::function<Result<ImageProgress>(const ImageRequest&, const Progress&,
                                                   const std::stop_token&)>;

  // Works by name; `clock` must outlive this.
  ImageJobs(const Clock& clock, std::map<std::string, Work> works)
      : clock_(clock), works_(std::move(works)) {}

  struct State {
    ImageProgress progress;
    bool ended = false;
    std::string error;  // once it ended; empty when it is done
  };
  // Begins the work, or joins the same that runs, and waits `patience` at most for its end. The end
  // is told once, and for some seconds only; whoever asks after that begins anew.
  State ask(const std::string& work, const ImageRequest& request, Duration patience);
  bool has(const std::string& work) const { return works_.contains(work); }

  // At the node's end, while containerd still has its snapshotter: what has not begun does not, and
  // what runs is told and has `patience`.
  void stop(Duration patience);

 private:
  using Key = std::pair<std::string, ImageRequest>;
  struct Job {
    State state;
    SteadyTime ended_at{};
  };

  void run(const Key& key, Job& job);
  bool begins();
  void forget_old_locked();

  const Clock& clock_;
  const std::map<std::string, Work> works_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, std::shared_ptr<Job>> jobs_;  // whoever waits for one has it, too
  std::stop_source stop_;
  bool running_ = false;
  WorkerPool pool_{1};  // last: its tasks use all of the above
};

}  // namespace runnel::node
