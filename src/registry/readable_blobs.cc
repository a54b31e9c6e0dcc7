#include "registry/readable_blobs.h"

#include "registry/attributes.h"
#include "registry/blob_api.h"

namespace runnel::registry {

namespace {

// Of one thread. More, and it begins anew: what is asked for again is found again.
constexpr size_t kMostKept = 1024;

}  // namespace

Refusal blob_unknown(const Route& route) {
  return {404, "BLOB_UNKNOWN", fmt::format("{} has no blob {}", route.repository, route.target)};
}

// The time first: a change between the two is then seen by the look, or is newer than the time.
Result<void> ReadableBlobs::Memory::check() {
  const auto now = std::chrono::steady_clock::now();
  RUNNEL_TRY(const auto current, watch->version());
  if (current != version) found.clear();
  version = current;
  checked_at = now;
  return {};
}

class ReadableBlobs::Lent {
 public:
  Lent(ReadableBlobs& owner, std::unique_ptr<Memory> memory)
      : owner_(owner), memory_(std::move(memory)) {}
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;
  ~Lent() { owner_.give_back(std::move(memory_)); }

  Memory* operator->() const { return memory_.get(); }
  bool watches() const { return memory_->watch != nullptr; }

 private:
  ReadableBlobs& owner_;
  std::unique_ptr<Memory> memory_;
};

Result<std::unique_ptr<ReadableBlobs::Memory>> ReadableBlobs::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto memory = std::move(idle_.back());
      idle_.pop_back();
      return memory;
    }
  }
  auto memory = std::make_unique<Memory>();
  RUNNEL_TRY(memory->watch, metadata_.watch_changes());
  return memory;
}

void ReadableBlobs::give_back(std::unique_ptr<Memory> memory) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(memory));
}

std::expected<ReadableBlob, Refusal> ReadableBlobs::find(const Route& route,
                                                         SteadyTime received_at) {
  if (route.hidden) return look_up(route);
  RUNNEL_TRY(auto taken, take());
  const Lent memory(*this, std::move(taken));
  if (!memory.watches()) return look_up(route);
  if (memory->checked_at < received_at) RUNNEL_DO(memory->check());

  auto& key = memory->key;
  key.assign(route.repository).append(" ").append(route.target);
  if (const auto known = memory->found.find(key); known != memory->found.end())
    return known->second;
  // What is found now is at least as new as the version.
  RUNNEL_TRY(auto found, look_up(route));
  if (memory->found.size() >= kMostKept) memory->found.clear();
  memory->found.emplace(key, found);
  return found;
}

std::expected<ReadableBlob, Refusal> ReadableBlobs::look_up(const Route& route) {
  RUNNEL_DO(check_attributes(metadata_, Attribute::kRead, route));
  RUNNEL_TRY(auto digest, digest_of(route.target));
  RUNNEL_TRY(const auto size, metadata_.blob_size(route.key(), digest));
  if (!size) return std::unexpected(blob_unknown(route));
  return ReadableBlob{.digest = std::move(digest), .size = *size};
}

}  // namespace runnel::registry
