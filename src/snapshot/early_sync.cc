#include "snapshot/early_sync.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"

namespace runnel::snapshot {

namespace {

using std::chrono::steady_clock;

EarlySync::Options completed(EarlySync::Options options) {
  if (!options.syncfs) options.syncfs = ::syncfs;
  return options;
}

}  // namespace

EarlySync::EarlySync(std::string directory, Options options)
    : directory_(std::move(directory)),
      options_(completed(std::move(options))),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

EarlySync::~EarlySync() = default;

Result<UniqueFd> EarlySync::open() const {
  return open_file(directory_, O_RDONLY | O_DIRECTORY);
}

void EarlySync::begin(const std::string& key) {
  auto fd = open();
  if (!fd) return;  // finish() will say what is wrong
  const std::lock_guard lock(mutex_);
  layers_.try_emplace(key,
                      Layer{.fd = *std::move(fd), .until = steady_clock::now() + options_.give_up});
  changed_.notify_all();
}

Result<void> EarlySync::finish(const std::string& key) {
  UniqueFd fd;
  {
    const std::lock_guard lock(mutex_);
    if (auto found = layers_.extract(key)) fd = std::move(found.mapped().fd);
  }
  if (!fd) {
    RUNNEL_TRY(fd, open());
  }
  if (options_.syncfs(fd.get()) != 0) return fail_errno("syncfs {}", directory_);
  return {};
}

void EarlySync::drop(const std::string& key) {
  const std::lock_guard lock(mutex_);
  layers_.erase(key);
}

bool EarlySync::is_wanted(Time now) {
  return std::ranges::any_of(layers_,
                             [now](const auto& layer) { return now < layer.second.until; });
}

void EarlySync::run(const std::stop_token& stop) {
  auto pause = options_.pause;
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, stop, [this] { return is_wanted(steady_clock::now()); });
      // Not to be cut short by the next begin().
      changed_.wait_for(lock, stop, pause, [] { return false; });
      if (stop.stop_requested() || !is_wanted(steady_clock::now())) continue;
    }
    const auto began = steady_clock::now();
    const auto fd = open();
    // What went wrong is told to the layer's own descriptor too, and from there to containerd.
    if (!fd || options_.syncfs(fd->get()) != 0) {
      log::warning("{} cannot be synced while a layer is unpacked into it", directory_);
    }
    const auto took =
        std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - began);
    pause = std::max(options_.pause, took);
  }
}

}  // namespace runnel::snapshot
