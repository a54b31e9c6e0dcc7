// The memory that keeps the kernel's requests while a worker has them: slots of a shared file that
// the holder hands to each worker in turn.
//
// A request is read(2) from /dev/fuse straight into a slot, and its slot is given back after the
// answer was written. So whatever a worker had taken and not answered when it was killed is in a
// slot, and the next worker can answer it by its unique number, with kernels that cannot send it
// again (before Linux 6.9).
//
// Each slot, 512 bytes:
//
//    0 fuse_in_header (include/uapi/linux/fuse.h), of which the first word is the request's length;
//      0 means that the slot is free
//   40 the request's arguments, cut off at 504: no request that a read-only file system cares about
//      is longer
//  504 when the first worker took it, u64: nanoseconds of CLOCK_MONOTONIC; 0 means that it did not
//      come to write it. So a request keeps its deadline whichever worker has it
//
// What a SIGKILL can do:
//
//   before read(2)         the slot is free, the kernel still has the request
//   in read(2)             the kernel finishes the copy, which cannot be interrupted as long as the
//                          slot's page is in memory (it is locked there): slot and kernel agree.
//                          Were the page not there, the kernel would end the request with EIO
//                          (fuse_dev_do_read, "out_end"): an error, never a wrong byte
//   before the answer      the slot is held, the next worker answers
//   after the answer       the slot is held, the next worker's answer gets ENOENT: nobody waits
//
// Any thread may call any method; a held slot belongs to whoever claimed it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"

namespace runnel::engine {

class RequestSlots {
 public:
  static constexpr size_t kSlotSize = 512;
  static constexpr size_t kRequestSize = 504;
  static constexpr uint32_t kCount = 2048;

  // The file, all slots free. For the holder.
  static Result<UniqueFd> create_file();
  // kInvalid when the file has another size.
  static Result<std::unique_ptr<RequestSlots>> open(UniqueFd file);
  // In the holder, when there is no worker for too long: ends the requests in held slots with EIO.
  // Where the kernel sends requests again this finds nothing that is still waited for.
  static void refuse_held(int file, int fuse);
  ~RequestSlots();
  RequestSlots(const RequestSlots&) = delete;
  RequestSlots& operator=(const RequestSlots&) = delete;

  // The slots that were held when the file was opened, in no order.
  const std::vector<uint32_t>& inherited() const { return inherited_; }

  // Where the request goes; what is behind it is the slot's own.
  MutableBytes bytes(uint32_t slot) { return memory_.subspan(slot * kSlotSize, kRequestSize); }

  // When it was first taken. Whoever has the slot calls these.
  void set_taken(uint32_t slot, SteadyTime when);
  std::optional<SteadyTime> taken(uint32_t slot) const;

  // A free slot. Waits while all are held: what the kernel wants more can wait with the kernel.
  // False after stop().
  bool claim(uint32_t& slot);
  void release(uint32_t slot);
  void stop();

 private:
  explicit RequestSlots(MutableBytes memory);

  const MutableBytes memory_;
  std::vector<uint32_t> inherited_;

  std::mutex mutex_;
  std::condition_variable released_;
  std::vector<uint32_t> free_;
  bool stopping_ = false;
};

}  // namespace runnel::engine
