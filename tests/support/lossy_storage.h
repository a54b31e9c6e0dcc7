// A disk in memory that loses power, for tests of the cache.
//
// It keeps for each file what the processes see and what is on the platter. Between the two stand
// the writes since the last sync; at a power cut any subset of their sectors arrives, each whole or
// as some other bytes, whatever the order of the writes; and all files may be gone whose names were
// not synced. A sync may fail once, as Linux does it: the error comes once, sectors are lost behind
// it, and the next sync succeeds and does not write them either: their pages are clean.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "cache/storage.h"

namespace runnel::test {

// Any thread may call any method.
class LossyDisk {
 public:
  // With `garbage`, some sectors that were on their way at a power cut hold any bytes after it.
  LossyDisk(unsigned seed, bool garbage) : random_(seed), garbage_(garbage) {}

  // The layer's view of it; several one after another, as processes come and go.
  std::unique_ptr<cache::Storage> storage();

  // After that many more operations nothing reaches the disk any more; everything fails.
  void lose_power_after(unsigned operations) {
    const std::lock_guard lock(mutex_);
    operations_left_ = operations;
    counting_ = true;
  }
  // What a machine finds that was switched on again. Files that are open now must not be used.
  void power_cycle();

  void fail_next_sync() {
    const std::lock_guard lock(mutex_);
    fail_sync_ = true;
  }

  // One byte of the file is another from now on, on the platter and for whoever reads it.
  void damage(const std::string& name, uint64_t offset) {
    const std::lock_guard lock(mutex_);
    auto& file = files_[name];
    for (auto* bytes : {&file.seen, &file.platter}) {
      if (offset < bytes->size()) (*bytes)[offset] ^= std::byte{1};
    }
  }

  // Called with the lock held after each change of what is on the platter.
  std::function<void()> on_change;

  // What processes see of a file, and what is on the platter of it; empty when there is none. Only
  // from on_change or when nobody else uses the disk.
  const Buffer& seen(const std::string& name) { return files_[name].seen; }
  const Buffer& on_platter(const std::string& name) { return files_[name].platter; }
  bool names_durable() const { return names_durable_; }
  // How often a file was to be durable.
  unsigned syncs() const { return syncs_; }

 private:
  static constexpr uint64_t kSector = 512;

  struct Write {
    uint64_t offset;
    Buffer bytes;
  };
  struct Contents {
    Buffer seen;
    Buffer platter;
    std::vector<Write> unsynced;
  };
  class LossyFile;
  class LossyStorage;

  static void put(Buffer& into, uint64_t offset, Bytes bytes) {
    if (into.size() < offset + bytes.size()) into.resize(offset + bytes.size());
    std::ranges::copy(bytes, into.begin() + static_cast<ptrdiff_t>(offset));
  }
  bool one_in(unsigned n) { return random_() % n == 0; }

  Result<void> operate_locked() {
    if (!counting_ || operations_left_-- > 0) return {};
    operations_left_ = 0;
    return fail(Code::kUnavailable, "the power is gone");
  }
  void changed_locked() {
    if (on_change) on_change();
  }
  void lose_some_locked(Contents& file, bool torn);

  std::mutex mutex_;
  std::mt19937 random_;
  const bool garbage_;
  std::map<std::string, Contents> files_;
  bool names_durable_ = false;
  bool fail_sync_ = false;
  bool counting_ = false;
  unsigned operations_left_ = 0;
  unsigned syncs_ = 0;
};

class LossyDisk::LossyFile final : public cache::File {
 public:
  LossyFile(LossyDisk& disk, Contents& file) : disk_(disk), file_(file) {}

  Result<void> read(MutableBytes into, uint64_t offset) const override {
    const std::lock_guard lock(disk_.mutex_);
    return read_locked(file_.seen, into, offset);
  }
  bool read_now(MutableBytes into, uint64_t offset) const override {
    return read(into, offset).has_value();
  }
  Result<void> read_from_disk(MutableBytes into, uint64_t offset) const override {
    const std::lock_guard lock(disk_.mutex_);
    return read_locked(file_.seen, into, offset);
  }
  Result<void> write(Bytes bytes, uint64_t offset) override {
    const std::lock_guard lock(disk_.mutex_);
    put(file_.seen, offset, bytes);
    file_.unsynced.push_back({.offset = offset, .bytes = Buffer(bytes.begin(), bytes.end())});
    return disk_.operate_locked();
  }
  Result<void> sync() override {
    const std::lock_guard lock(disk_.mutex_);
    ++disk_.syncs_;
    RUNNEL_DO(disk_.operate_locked());
    if (std::exchange(disk_.fail_sync_, false)) {
      disk_.lose_some_locked(file_, false);
      // Pages that could not be written are clean now: they may go, and come back as they were.
      if (disk_.one_in(2)) file_.seen = file_.platter;
      file_.unsynced.clear();
      disk_.changed_locked();
      return fail(Code::kUnavailable, "the disk lost a write");
    }
    for (const auto& write : file_.unsynced) put(file_.platter, write.offset, write.bytes);
    file_.unsynced.clear();
    disk_.changed_locked();
    return {};
  }
  Result<uint64_t> size() const override {
    const std::lock_guard lock(disk_.mutex_);
    return file_.seen.size();
  }
  Result<void> resize(uint64_t size) override {
    const std::lock_guard lock(disk_.mutex_);
    RUNNEL_DO(disk_.operate_locked());
    const uint64_t before = file_.seen.size();
    file_.seen.resize(size);
    // Growing is a write of zeros, as far as a power cut is concerned.
    if (size > before) file_.unsynced.push_back({.offset = before, .bytes = Buffer(size - before)});
    if (size < before) {
      file_.platter.resize(std::min<uint64_t>(file_.platter.size(), size));
      file_.unsynced.clear();
      disk_.changed_locked();
    }
    return {};
  }
  uint64_t in_page_cache() const override { return 0; }

 private:
  static Result<void> read_locked(const Buffer& from, MutableBytes into, uint64_t offset) {
    if (offset + into.size() > from.size()) return fail(Code::kInvalid, "the file ends before");
    std::memcpy(into.data(), from.data() + offset, into.size());
    return {};
  }

  LossyDisk& disk_;
  Contents& file_;
};

class LossyDisk::LossyStorage final : public cache::Storage {
 public:
  explicit LossyStorage(LossyDisk& disk) : disk_(disk) {}

  Result<std::unique_ptr<cache::File>> open(const std::string& name) override {
    const std::lock_guard lock(disk_.mutex_);
    RUNNEL_DO(disk_.operate_locked());
    return std::make_unique<LossyFile>(disk_, disk_.files_[name]);
  }
  std::string path(const std::string& name) const override { return "lossy/" + name; }
  Result<void> sync_names() override {
    const std::lock_guard lock(disk_.mutex_);
    RUNNEL_DO(disk_.operate_locked());
    disk_.names_durable_ = true;
    return {};
  }

 private:
  LossyDisk& disk_;
};

inline std::unique_ptr<cache::Storage> LossyDisk::storage() {
  return std::make_unique<LossyStorage>(*this);
}

// Some of the sectors that were not synced arrive on the platter.
inline void LossyDisk::lose_some_locked(Contents& file, bool torn) {
  const uint64_t unit = one_in(2) ? kSector : 8 * kSector;
  const unsigned arrives = 1 + random_() % 4;  // in 5
  for (const auto& write : file.unsynced) {
    for (uint64_t at = 0; at < write.bytes.size();) {
      const uint64_t size = std::min(unit - (write.offset + at) % unit, write.bytes.size() - at);
      if (random_() % 5 < arrives) {
        Buffer sector(write.bytes.begin() + static_cast<ptrdiff_t>(at),
                      write.bytes.begin() + static_cast<ptrdiff_t>(at + size));
        // A block that was allocated and not written: what somebody had there before.
        if (torn && garbage_ && one_in(20)) {
          for (auto& byte : sector) byte = static_cast<std::byte>(random_());
        }
        put(file.platter, write.offset + at, sector);
      }
      at += size;
    }
  }
}

inline void LossyDisk::power_cycle() {
  const std::lock_guard lock(mutex_);
  counting_ = false;
  fail_sync_ = false;
  if (!names_durable_ && one_in(2)) {
    for (auto& [name, file] : files_) file = {};
    changed_locked();
  }
  for (auto& [name, file] : files_) {
    lose_some_locked(file, true);
    changed_locked();
    file.unsynced.clear();
    file.seen = file.platter;
  }
}

}  // namespace runnel::test
