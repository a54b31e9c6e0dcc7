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

Result<std::unique_ptr<EarlySync>> EarlySync::open(const std::string& directory, Options options) {
  RUNNEL_TRY(auto fd, open_file(directory, O_RDONLY | O_DIRECTORY));
  return std::unique_ptr<EarlySync>(new EarlySync(directory, std::move(fd), std::move(options)));
}

EarlySync::EarlySync(std::string directory, UniqueFd fd, Options options)
    : directory_(std::move(directory)),
      options_(completed(std::move(options))),
      fd_(std::move(fd)),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

EarlySync::~EarlySync() = default;

void EarlySync::begin(int64_t number, Use use) {
  const auto early = use == Use::kUnpack ? options_.give_up : std::chrono::milliseconds(0);
  const std::lock_guard lock(mutex_);
  snapshots_.emplace(
      number, Snapshot{.losses_before = losses_, .early_until = steady_clock::now() + early});
  changed_.notify_all();
}

Result<void> EarlySync::finish(int64_t number) {
  // One sync at a time: the error is told once, and whoever comes next must find it counted.
  const std::lock_guard one(sync_mutex_);
  {
    const std::lock_guard lock(mutex_);
    if (!snapshots_.contains(number)) {
      return fail(Code::kConflict,
                  "it was begun before the node started, and whether all of its files reached the "
                  "disk since cannot be known: remove it and begin anew (a pull does when it is "
                  "repeated)");
    }
  }
  const bool synced = options_.syncfs(fd_.get()) == 0;
  if (!synced) log::error("{}", system_error(errno, "syncfs " + directory_).message);
  const std::lock_guard lock(mutex_);
  if (!synced) ++losses_;
  const auto found = snapshots_.find(number);
  if (found != snapshots_.end() && found->second.losses_before == losses_) return {};
  return fail(Code::kUnavailable,
              "writes to the file system of {} were lost since the snapshot was prepared: see the "
              "kernel's log and the disk's room, then repeat the pull",
              directory_);
}

void EarlySync::drop(int64_t number) {
  const std::lock_guard lock(mutex_);
  snapshots_.erase(number);
}

bool EarlySync::is_wanted(Time now) {
  return std::ranges::any_of(snapshots_,
                             [now](const auto& each) { return now < each.second.early_until; });
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
    const auto fd = open_file(directory_, O_RDONLY | O_DIRECTORY);
    // What went wrong is told to fd_ too, and from there to containerd.
    if (!fd || options_.syncfs(fd->get()) != 0) {
      log::warning("{} cannot be synced while a layer is unpacked into it", directory_);
    }
    const auto took =
        std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - began);
    pause = std::max(options_.pause, took);
  }
}

}  // namespace runnel::snapshot
