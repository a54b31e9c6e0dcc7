#include "blob/open_files.h"

#include <sys/stat.h>

namespace runnel::blob {

namespace {

// Coarser than any clock that file systems take their times from.
constexpr auto kSettled = std::chrono::seconds(1);

WallTime changed_at(const struct stat& info) {
  return WallTime(std::chrono::seconds(info.st_ctim.tv_sec) +
                  std::chrono::nanoseconds(info.st_ctim.tv_nsec));
}

}  // namespace

bool OpenFiles::is_current(const Entry& entry) {
  struct stat info;
  return ::fstat(entry.content.file->get(), &info) == 0 && info.st_nlink > 0 &&
         changed_at(info) == entry.changed;
}

std::optional<FileContent> OpenFiles::find(const oci::Digest& digest) {
  std::unique_lock lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end()) return std::nullopt;
  found->second.used = true;
  const Entry entry = found->second;
  lock.unlock();
  if (is_current(entry)) return entry.content;
  lock.lock();
  const auto again = entries_.find(digest);
  if (again != entries_.end() && again->second.content.file == entry.content.file)
    entries_.erase(again);
  return std::nullopt;
}

Result<FileContent> OpenFiles::add(const oci::Digest& digest, UniqueFd file, WallTime now) {
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return fail_errno("stat blob {}", digest);
  Entry entry;
  entry.content = {.file = std::make_shared<const UniqueFd>(std::move(file)),
                   .size = static_cast<uint64_t>(info.st_size)};
  entry.changed = changed_at(info);
  auto content = entry.content;
  if (now - entry.changed <= kSettled) return content;
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= limit_ && !entries_.contains(digest)) make_room_locked();
  entries_.insert_or_assign(digest, std::move(entry));
  return content;
}

// One that was not used since the last look; any, when all were.
void OpenFiles::make_room_locked() {
  auto victim = entries_.begin();
  for (auto at = entries_.begin(); at != entries_.end(); ++at) {
    if (!std::exchange(at->second.used, false)) {
      victim = at;
      break;
    }
  }
  entries_.erase(victim);
}

void OpenFiles::forget(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  entries_.erase(digest);
}

void OpenFiles::forget_unused() {
  const std::lock_guard lock(mutex_);
  for (auto at = entries_.begin(); at != entries_.end();) {
    const bool stays = std::exchange(at->second.used, false) && is_current(at->second);
    at = stays ? std::next(at) : entries_.erase(at);
  }
}

size_t OpenFiles::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace runnel::blob
