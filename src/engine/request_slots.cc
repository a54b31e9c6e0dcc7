#include "engine/request_slots.h"

#include <linux/fuse.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>

namespace runnel::engine {

namespace {

constexpr size_t kFileSize = RequestSlots::kSlotSize * RequestSlots::kCount;

// The first word of a slot, which says whether it is held.
std::atomic_ref<uint32_t> length_of(MutableBytes slot) {
  return std::atomic_ref(*reinterpret_cast<uint32_t*>(slot.data()));
}

}  // namespace

Result<UniqueFd> RequestSlots::create_file() {
  UniqueFd file(::memfd_create("runnel-requests", MFD_CLOEXEC));
  if (!file) return fail_errno("memfd_create");
  if (::ftruncate(file.get(), kFileSize) != 0) return fail_errno("size of the request slots");
  return file;
}

Result<std::unique_ptr<RequestSlots>> RequestSlots::open(UniqueFd file) {
  RUNNEL_TRY(const uint64_t size, file_size(file.get()));
  if (size != kFileSize) {
    return fail(Code::kInvalid, "the request slots have {} bytes; expected {}", size, kFileSize);
  }
  void* memory =
      ::mmap(nullptr, kFileSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file.get(), 0);
  if (memory == MAP_FAILED) return fail_errno("map the request slots");
  ::mlock(memory, kFileSize);  // best effort: see above what it is for
  return std::unique_ptr<RequestSlots>(
      new RequestSlots({static_cast<std::byte*>(memory), kFileSize}));
}

void RequestSlots::refuse_held(int file, int fuse) {
  for (uint32_t slot = 0; slot < kCount; ++slot) {
    fuse_in_header header{};
    const auto at = static_cast<off_t>(slot * kSlotSize);
    if (::pread(file, &header, sizeof header, at) != sizeof header || header.len == 0) continue;
    const fuse_out_header refusal{.len = sizeof refusal, .error = -EIO, .unique = header.unique};
    (void)!::write(fuse, &refusal, sizeof refusal);
  }
}

RequestSlots::RequestSlots(MutableBytes memory) : memory_(memory) {
  for (uint32_t slot = kCount; slot-- > 0;) {
    // A write that changes nothing: the page is there, and writable, before the kernel needs it.
    const bool held = length_of(bytes(slot)).fetch_or(0) != 0;
    (held ? inherited_ : free_).push_back(slot);
  }
}

RequestSlots::~RequestSlots() {
  ::munmap(memory_.data(), memory_.size());
}

bool RequestSlots::claim(uint32_t& slot) {
  std::unique_lock lock(mutex_);
  released_.wait(lock, [this] { return stopping_ || !free_.empty(); });
  if (stopping_) return false;
  slot = free_.back();
  free_.pop_back();
  return true;
}

void RequestSlots::set_taken(uint32_t slot, SteadyTime when) {
  store_le<int64_t>(memory_.data() + slot * kSlotSize + kRequestSize,
                    when.time_since_epoch().count());
}

std::optional<SteadyTime> RequestSlots::taken(uint32_t slot) const {
  const auto when = load_le<int64_t>(memory_.data() + slot * kSlotSize + kRequestSize);
  if (when == 0) return std::nullopt;
  return SteadyTime(Duration(when));
}

void RequestSlots::release(uint32_t slot) {
  set_taken(slot, SteadyTime());
  length_of(bytes(slot)).store(0, std::memory_order_release);
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(slot);
  }
  released_.notify_one();
}

void RequestSlots::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  released_.notify_all();
}

}  // namespace runnel::engine
