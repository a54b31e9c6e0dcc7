#include "node/idle_mounts.h"

#include <utility>

#include "base/log.h"

namespace runnel::node {

IdleMounts::IdleMounts(const Clock& clock, Duration patience, Unmount unmount)
    : unmount_(std::move(unmount)),
      letting_go_(
          clock, patience, [this] { return names(); },
          [this](const std::string& name) {
            if (auto done = unmount_if_idle(name); !done)
              log::info("{} stays mounted: {}", name, done.error().message);
          }) {}

Result<std::string> IdleMounts::use(const std::string& name, const Mount& mount) {
  letting_go_.wanted(name);
  const std::lock_guard lock(mutex_);
  const bool idle = idle_.erase(name) > 0;
  auto target = mount(idle);
  if (!target && idle) idle_.insert(name);
  return target;
}

std::optional<std::string> IdleMounts::use_too(
    const std::string& name, const std::function<std::optional<std::string>()>& find) {
  letting_go_.wanted(name);
  const std::lock_guard lock(mutex_);
  return idle_.contains(name) ? std::nullopt : find();
}

void IdleMounts::idle(const std::string& name) {
  const std::lock_guard lock(mutex_);
  idle_.insert(name);
}

Result<void> IdleMounts::unmount(const std::string& name) {
  const std::lock_guard lock(mutex_);
  auto done = unmount_(name, engine::WhenBusy::kTryAgain);
  if (done) {
    idle_.erase(name);
  } else {
    idle_.insert(name);  // nobody else would try again
  }
  return done;
}

bool IdleMounts::unmount_idle() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return false;
  return std::erase_if(idle_, [&](const auto& name) {
           return unmount_(name, engine::WhenBusy::kAnswer).has_value();
         }) > 0;
}

std::vector<std::string> IdleMounts::names() const {
  const std::lock_guard lock(mutex_);
  return {idle_.begin(), idle_.end()};
}

// Whether it was, and went. What something still holds on to (a shell in it) stays idle, and no
// start of a container waits for it.
Result<bool> IdleMounts::unmount_if_idle(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (!idle_.contains(name)) return false;
  RUNNEL_DO(unmount_(name, engine::WhenBusy::kAnswer));
  idle_.erase(name);
  return true;
}

}  // namespace runnel::node
