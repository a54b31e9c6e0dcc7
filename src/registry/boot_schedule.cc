#include "registry/boot_schedule.h"

#include <algorithm>

namespace runnel::registry {

namespace {

constexpr auto kGather = std::chrono::seconds(1);
constexpr auto kApart = std::chrono::minutes(1);
constexpr size_t kMaxDue = 10'000;

}  // namespace

void BootSchedule::voted(const Image& image, SteadyTime now) {
  if (due_.contains(image) || due_.size() >= kMaxDue) return;
  const auto made = made_.find(image);
  auto due = now + kGather;
  if (made != made_.end()) due = std::max(due, made->second + kApart);
  due_.emplace(image, due);
}

// Of those that nobody is at.
std::map<BootSchedule::Image, SteadyTime>::const_iterator BootSchedule::first() const {
  auto first = due_.end();
  for (auto entry = due_.begin(); entry != due_.end(); ++entry) {
    if (taken_.contains(entry->first)) continue;
    if (first == due_.end() || entry->second < first->second) first = entry;
  }
  return first;
}

std::optional<SteadyTime> BootSchedule::next() const {
  const auto next = first();
  if (next == due_.end()) return std::nullopt;
  return next->second;
}

std::optional<BootSchedule::Image> BootSchedule::take(SteadyTime now) {
  std::erase_if(made_, [&](const auto& entry) { return entry.second + kApart <= now; });
  const auto next = first();
  if (next == due_.end() || next->second > now) return std::nullopt;
  auto image = next->first;
  due_.erase(next);
  taken_.insert(image);
  return image;
}

void BootSchedule::done(const Image& image, bool made, SteadyTime now) {
  taken_.erase(image);
  if (!made) return;
  made_.insert_or_assign(image, now);
  const auto waiting = due_.find(image);
  if (waiting != due_.end()) waiting->second = std::max(waiting->second, now + kApart);
}

}  // namespace runnel::registry
