#include "registry/boot_schedule.h"

#include <algorithm>

namespace runnel::registry {

namespace {

constexpr auto kGather = std::chrono::seconds(1);
constexpr auto kApart = std::chrono::minutes(1);
constexpr size_t kMaxDue = 10'000;

SteadyTime when(const std::pair<const BootSchedule::Image, SteadyTime>& entry) {
  return entry.second;
}

}  // namespace

void BootSchedule::voted(const Image& image, SteadyTime now) {
  if (due_.contains(image) || due_.size() >= kMaxDue) return;
  const auto made = made_.find(image);
  auto due = now + kGather;
  if (made != made_.end()) due = std::max(due, made->second + kApart);
  due_.emplace(image, due);
}

std::optional<SteadyTime> BootSchedule::next() const {
  const auto first = std::ranges::min_element(due_, {}, when);
  if (first == due_.end()) return std::nullopt;
  return first->second;
}

std::optional<BootSchedule::Image> BootSchedule::take(SteadyTime now) {
  std::erase_if(made_, [&](const auto& entry) { return entry.second + kApart <= now; });
  const auto first = std::ranges::min_element(due_, {}, when);
  if (first == due_.end() || first->second > now) return std::nullopt;
  auto image = first->first;
  due_.erase(first);
  return image;
}

void BootSchedule::made(const Image& image, SteadyTime now) {
  made_.insert_or_assign(image, now);
  const auto waiting = due_.find(image);
  if (waiting != due_.end()) waiting->second = std::max(waiting->second, now + kApart);
}

}  // namespace runnel::registry
