#include "snapshot/attachment.h"

#include <utility>

namespace runnel::snapshot {

void Attachment::set(Snapshotter& snapshotter) {
  const std::scoped_lock lock(mutex_);
  snapshotter_ = &snapshotter;
  changed_.notify_all();
}

Snapshotter* Attachment::close() {
  const std::scoped_lock lock(mutex_);
  if (std::exchange(closed_, true)) return nullptr;
  changed_.notify_all();
  return snapshotter_;
}

Snapshotter* Attachment::wait(std::chrono::nanoseconds limit) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, limit, [&] { return snapshotter_ != nullptr || closed_; });
  return snapshotter_;
}

}  // namespace runnel::snapshot
