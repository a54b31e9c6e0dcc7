// What was looked up in the metadata, kept as long as these say that nobody, in whatever process,
// has changed anything since: what is deleted or switched off is gone for the next request. One
// look at the metadata serves every request that was received before it
// (docs/decisions/0015-one-look-for-many-requests.md).
#pragma once

#include <expected>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "meta/metadata_store.h"
#include "registry/reply.h"

namespace runnel::registry {

// Any thread may call any method.
template <class T>
class Remembered {
 public:
  // The store must outlive it.
  explicit Remembered(meta::MetadataStore& metadata) : metadata_(metadata) {}

  // What `look_up`, which returns a std::expected<T, Refusal>, found for this key, now or since the
  // last change that was committed before `received_at`. `make_key` writes the key into the string
  // that it is given. Refusals are not kept.
  template <class MakeKey, class LookUp>
  std::expected<T, Refusal> find(SteadyTime received_at, const MakeKey& make_key,
                                 const LookUp& look_up);

 private:
  // Of one thread. More, and it begins anew: what is asked for again is found again.
  static constexpr size_t kMostKept = 1024;

  // What was found while the watch said `version`. One thread at a time has it.
  struct Memory {
    // Forgets everything if anything has changed.
    Result<void> check();

    std::unique_ptr<meta::ChangeWatch> watch;
    uint64_t version = 0;
    SteadyTime checked_at = SteadyTime::min();  // just before the watch was asked
    std::unordered_map<std::string, T> found;
    std::string key;  // of the look-up that is made
  };

  // A memory that nobody else has, until it goes.
  class Lent {
   public:
    Lent(Remembered& owner, std::unique_ptr<Memory> memory)
        : owner_(owner), memory_(std::move(memory)) {}
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;
    ~Lent() { owner_.give_back(std::move(memory_)); }

    Memory* operator->() const { return memory_.get(); }
    bool watches() const { return memory_->watch != nullptr; }

   private:
    Remembered& owner_;
    std::unique_ptr<Memory> memory_;
  };

  Result<std::unique_ptr<Memory>> take();
  void give_back(std::unique_ptr<Memory> memory);

  meta::MetadataStore& metadata_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Memory>> idle_;  // as many as threads that ever looked at once
};

// The time first: a change between the two is then seen by the look, or is newer than the time.
template <class T>
Result<void> Remembered<T>::Memory::check() {
  const auto now = std::chrono::steady_clock::now();
  RUNNEL_TRY(const auto current, watch->version());
  if (current != version) found.clear();
  version = current;
  checked_at = now;
  return {};
}

template <class T>
Result<std::unique_ptr<typename Remembered<T>::Memory>> Remembered<T>::take() {
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

template <class T>
void Remembered<T>::give_back(std::unique_ptr<Memory> memory) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(memory));
}

template <class T>
template <class MakeKey, class LookUp>
std::expected<T, Refusal> Remembered<T>::find(SteadyTime received_at, const MakeKey& make_key,
                                              const LookUp& look_up) {
  RUNNEL_TRY(auto taken, take());
  const Lent memory(*this, std::move(taken));
  if (!memory.watches()) return look_up();
  if (memory->checked_at < received_at) RUNNEL_DO(memory->check());

  auto& key = memory->key;
  key.clear();
  make_key(key);
  if (const auto known = memory->found.find(key); known != memory->found.end())
    return known->second;
  // What is found now is at least as new as the version.
  RUNNEL_TRY(auto found, look_up());
  if (memory->found.size() >= kMostKept) memory->found.clear();
  memory->found.emplace(key, found);
  return found;
}

}  // namespace runnel::registry
