#include "registry/boot_schedule.h"

#include <algorithm>

namespace runnel::registry {

namespace {

constexpr auto kGather = std::chrono::seconds(1);
constexpr size_t kMaxDue = 10'000;

}  // namespace

void BootSchedule::voted(const Image& image, SteadyTime now) {
  left_overs_.erase(image);
  if (due_.contains(image) || due_.size() >= kMaxDue) return;
  const auto made = made_.find(image);
  auto due = now + kGather;
  if (made != made_.end()) due = std::max(due, made->second + kRenewalsApart);
  due_.emplace(image, due);
}

void BootSchedule::left_over(const Image& image, SteadyTime now) {
  if (due_.contains(image)) return;
  voted(image, now);
  if (due_.contains(image)) left_overs_.insert(image);
}

// Of those that may be taken.
std::map<BootSchedule::Image, SteadyTime>::const_iterator BootSchedule::first() const {
  auto first = due_.end();
  for (auto entry = due_.begin(); entry != due_.end(); ++entry) {
    if (taken_.contains(entry->first)) continue;
    if (taken_left_over_ && left_overs_.contains(entry->first)) continue;
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
  std::erase_if(made_, [&](const auto& entry) { return entry.second + kRenewalsApart <= now; });
  const auto next = first();
  if (next == due_.end() || next->second > now) return std::nullopt;
  auto image = next->first;
  due_.erase(next);
  taken_.insert(image);
  if (left_overs_.erase(image) > 0) taken_left_over_ = image;
  return image;
}

void BootSchedule::done(const Image& image, std::optional<SteadyTime> made) {
  taken_.erase(image);
  if (taken_left_over_ == image) taken_left_over_.reset();
  if (!made) return;
  made_.insert_or_assign(image, *made);
  const auto waiting = due_.find(image);
  if (waiting != due_.end()) waiting->second = std::max(waiting->second, *made + kRenewalsApart);
}

}  // namespace runnel::registry
