// Cache: who uses which layer, and what goes when the disk is short.
#include <sys/statvfs.h>

#include <algorithm>

#include "base/log.h"
#include "cache/cache.h"
#include "cache/disk.h"

namespace runnel::cache {

namespace {

// How old what is written down of a layer in use may be.
constexpr auto kTouchAgain = std::chrono::hours(1);

// Until what could not be deleted is tried again.
constexpr auto kDeleteAgain = std::chrono::minutes(1);

Result<Cache::Disk> measure_disk(const std::string& directory) {
  struct statvfs info;
  if (::statvfs(directory.c_str(), &info) != 0) return fail_errno("statvfs {}", directory);
  return Cache::Disk{.bytes = uint64_t{info.f_blocks} * info.f_frsize,
                     .free = uint64_t{info.f_bavail} * info.f_frsize};
}

}  // namespace

void Cache::on_removed(Removed removed) {
  const std::lock_guard opening(opening_);  // remove() has it over its call
  const std::lock_guard lock(mutex_);
  removed_ = std::move(removed);
}

void Cache::on_short_of_room(Unpinned unpinned) {
  const std::lock_guard room(room_);
  unpinned_ = std::move(unpinned);
}

void Cache::touch_locked(const oci::Digest& digest, Entry& entry) {
  entry.used = clock_.wall();
  entry.released = false;
  write_->submit([path = path_of(digest), when = entry.used] { set_used(path, when); });
}

void Cache::pin(const std::string& user, const std::vector<oci::Digest>& digests) {
  const auto now = clock_.wall();
  const std::lock_guard lock(mutex_);
  for (const auto& digest : digests) {
    Entry& entry = entries_[digest];
    // One that has it already pins it again for each container. What counts is when it lets go, or
    // when the machine stopped under it.
    const bool came = entry.users.insert(user).second;
    if (came || std::chrono::abs(now - entry.used) >= kTouchAgain) touch_locked(digest, entry);
  }
}

void Cache::unpin(const std::string& user) {
  const std::lock_guard lock(mutex_);
  for (auto& [digest, entry] : entries_) {
    if (entry.users.erase(user) > 0) touch_locked(digest, entry);
  }
}

void Cache::pin_all(const std::string& user) {
  std::vector<oci::Digest> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [digest, entry] : entries_) all.push_back(digest);
  }
  pin(user, all);
}

void Cache::release(const std::vector<oci::Digest>& digests) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& digest : digests) {
      const auto at = entries_.find(digest);
      if (at != entries_.end()) at->second.released = at->second.users.empty();
    }
  }
  measure_and_make_room();
}

void Cache::measure_and_make_room() {
  const std::lock_guard room(room_);
  remove_leftovers();
  measure();
  make_room();
}

// Tells the budget how full the disk is, and what of it is ours.
void Cache::measure() {
  std::vector<oci::Digest> digests;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [digest, entry] : entries_) {
      if (entry.layer) digests.push_back(digest);
    }
  }
  std::map<oci::Digest, uint64_t> bytes;
  for (const auto& digest : digests) bytes[digest] = allocated_bytes(path_of(digest));
  const auto disk = options_.measure ? options_.measure(directory_) : measure_disk(directory_);
  if (!disk) {
    log::error("{}", disk.error().message);
    return;
  }
  uint64_t used = 0;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [digest, entry] : entries_) {
      if (const auto measured = bytes.find(digest); measured != bytes.end()) {
        entry.bytes = measured->second;
      }
      used += entry.bytes;
    }
  }
  const auto before = budget_.state();
  budget_.measured(disk->bytes, disk->free, used);
  const auto now = budget_.status();
  if (now.state == before) return;
  log::warning("cache: {}: {} bytes in use (at most {}), {} bytes free (at least {})",
               to_string(now.state), now.used, now.max_bytes, now.free, now.min_free);
}

// What of the layers that may go was used longest ago. One that nobody needs is young for nobody.
std::optional<oci::Digest> Cache::least_recent_locked() const {
  const Entry* oldest = nullptr;
  std::optional<oci::Digest> found;
  for (const auto& [digest, entry] : entries_) {
    const bool young = entry.layer && clock_.now() - entry.asked < options_.young;
    if (!entry.users.empty() || entry.bytes == 0 || (young && !entry.released)) continue;
    if (clock_.now() < entry.rests_until) continue;
    if (oldest != nullptr && oldest->used <= entry.used) continue;
    oldest = &entry;
    found = digest;
  }
  return found;
}

void Cache::make_room() {
  const uint64_t excess = budget_.excess();
  for (uint64_t freed = 0; freed < excess;) {
    std::optional<oci::Digest> next;
    {
      const std::lock_guard lock(mutex_);
      next = least_recent_locked();
    }
    if (!next && unpinned_ && unpinned_()) continue;
    if (!next) return;
    const auto removed = remove(*next);
    if (!removed) {
      log::error("{}", removed.error().message);
      return;
    }
    log::info("cache: layer {} is deleted to make room: {} bytes", *next, *removed);
    freed += *removed;
  }
}

// Unless it is pinned. Returns the freed bytes. What cannot be deleted is known as before.
Result<uint64_t> Cache::remove(const oci::Digest& digest) {
  const std::lock_guard opening(opening_);
  Entry removed;
  Removed tell;
  {
    const std::lock_guard lock(mutex_);
    const auto at = entries_.find(digest);
    if (at == entries_.end() || !at->second.users.empty()) return 0;
    removed = std::move(at->second);
    entries_.erase(at);
    tell = removed_;
  }
  if (tell && removed.layer) tell(digest, removed.layer);
  closed_.erase(digest);
  const auto deleted = delete_layer(path_of(digest));
  const uint64_t bytes = removed.bytes;
  if (!deleted && is_stored(path_of(digest))) {
    put_back(digest, std::move(removed));
    return std::unexpected(deleted.error());
  }
  if (removed.layer) removed.layer->lend_no_more();
  if (deleted) return bytes;
  leftovers_ = clock_.now() + kDeleteAgain;
  return std::unexpected(deleted.error());
}

// Its users, if it has got some meanwhile, stay.
void Cache::put_back(const oci::Digest& digest, Entry kept) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[digest];
  kept.users = std::move(entry.users);
  kept.used = std::max(kept.used, entry.used);
  kept.released = kept.released && kept.users.empty();
  kept.rests_until = clock_.now() + kDeleteAgain;
  entry = std::move(kept);
}

// What could not be deleted after it had lost its name.
void Cache::remove_leftovers() {
  if (!leftovers_ || clock_.now() < *leftovers_) return;
  leftovers_.reset();
  const auto removed = cache::remove_leftovers(directory_);
  if (removed) return;
  log::error("{}", removed.error().message);
  leftovers_ = clock_.now() + kDeleteAgain;
}

Result<uint64_t> Cache::clear() {
  const std::lock_guard room(room_);
  measure();
  std::vector<oci::Digest> digests;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [digest, entry] : entries_) {
      if (entry.users.empty()) digests.push_back(digest);
    }
  }
  Result<uint64_t> freed = 0;
  for (const auto& digest : digests) {
    const auto bytes = remove(digest);
    if (!bytes && freed) freed = std::unexpected(bytes.error());
    if (bytes && freed) *freed += *bytes;
  }
  measure();
  return freed;
}

}  // namespace runnel::cache
