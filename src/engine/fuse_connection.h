// One FUSE connection as a worker has it: requests are taken from it, kept until they are answered,
// and answered exactly once. It knows the protocol's frame and nothing of what is served.
//
// A worker takes over in the middle: take_over() gets back what the last worker had taken and not
// answered, by the kernel's re-send (FUSE_NOTIFY_RESEND, Linux 6.9) or out of the request slots.
//
// Deadlines are kept here and need no file: a frozen or dying disk ends in EIO and not in a wait
// without end. A read that was cancelled is not answered at all: this worker is ending, and the
// next one will do better.
#pragma once

#include <linux/fuse.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/histogram.h"
#include "engine/request_slots.h"
#include "engine/silence.h"

namespace runnel::engine {

// How what a dead worker had taken comes to the next one.
enum class Recovery : uint8_t {
  kAuto,          // the kernel's re-send where it has it
  kResend,        // the kernel sends it again
  kSharedMemory,  // it is in the request slots
};
// "auto", "resend", "shared-memory", as --recovery takes them.
const char* to_string(Recovery recovery);
Result<Recovery> parse_recovery(std::string_view text);

// What the holder hands to its workers.
struct FuseChannel {
  UniqueFd fuse;   // mounted, its INIT answered (open_fuse_mount)
  UniqueFd slots;  // RequestSlots::create_file()
};

// Which request to answer, the slot that it is in, and when the first worker that had it took it.
struct Ticket {
  uint64_t unique = 0;
  uint32_t slot = 0;
  SteadyTime taken{};
};

struct FuseRequest {
  Ticket ticket;
  uint32_t opcode = 0;
  uint64_t node = 0;
  uint32_t uid = 0;
  uint32_t pid = 0;  // of the reader; 0 when the kernel does not tell
  Bytes body;        // until the request is answered

  // The arguments as `T`; nullptr when they are shorter.
  template <class T>
  const T* as() const {
    return body.size() < sizeof(T) ? nullptr : reinterpret_cast<const T*>(body.data());
  }
  // The NUL-terminated name at `offset` of the body; empty when there is none.
  std::string_view name(size_t offset = 0) const;
};

// What a read asks for; `length` is 0 for requests that are no reads.
struct ReadRange {
  uint64_t node = 0;
  uint64_t offset = 0;
  uint64_t length = 0;

  bool overlaps(const ReadRange& other) const {
    return node == other.node && offset < other.offset + other.length &&
           other.offset < offset + length;
  }
};

// Who sends the kernel's requests.
enum class Senders : uint8_t {
  kReaders,  // each reader his own, one after the other
  // Loop devices: the process that a request names is none that reads.
  kLoops,
  // Loop devices that send one request after the other for all their readers (probe.h). What has
  // failed is repeated behind all the others then, so it is refused for as long as others of the
  // layer end late, a read timeout at most.
  kWaitingLoops,
};

struct ReadCounters {
  uint64_t reads = 0;         // requests of the kernel
  uint64_t bytes = 0;         // answered
  uint64_t waited = 0;        // reads that were not in the page cache or not here at all
  uint64_t errors = 0;        // EIO
  uint64_t expired = 0;       // of those, at the deadline
  uint64_t waiting = 0;       // now
  Histogram::Snapshot waits;  // of those that waited, until their answer
};

// A layer that a read waits for.
struct Supplier {
  uint64_t layer = 0;  // its node
  std::string name;
  std::function<cache::SourceSigns()> signs;  // called under a lock: it may take none
};

// Until when a reader may wait, and what is fetched for it may take.
struct Patience {
  SteadyTime reader;
  SteadyTime fetch;
};

// A request that is not answered yet. Whoever takes it out of the table answers it.
struct Waiting {
  SteadyTime deadline;
  // For what is asked of something that an earlier worker served and this one not yet.
  std::function<void()> retry;
  ReadRange range;
  uint32_t pid = 0;
  SteadyTime since{};                 // set by keep()
  std::vector<Supplier> suppliers{};  // set by waits_for()
};

// Any thread may call any method. Reads that end late keep it alive.
class FuseConnection {
 public:
  // `read_timeout`: a read's whole time. The clock must outlive it, and be the machine's: times are
  // handed from worker to worker.
  static Result<std::shared_ptr<FuseConnection>> open(FuseChannel channel, Duration read_timeout,
                                                      const Clock& clock);

  int fd() const { return fuse_.get(); }

  // Once, before anything is taken: what has to be answered first, if it is not sent again.
  // kUnsupported when `wanted` is kResend and the kernel cannot.
  Result<std::vector<FuseRequest>> take_over(Recovery wanted);
  // What take_over() chose and why.
  Recovery recovery() const { return recovery_; }
  const std::string& recovery_reason() const { return recovery_reason_; }

  // Whether there was a request to take. kNotFound when the connection is gone, kCancelled after
  // stop(). `scratch` is for what does not fit a slot (64 KiB).
  Result<bool> take(FuseRequest& request, MutableBytes scratch);
  void stop() { slots_->stop(); }

  template <class Out>
  void reply(Ticket ticket, const Out& out) const {
    reply_bytes(ticket, std::as_bytes(std::span(&out, 1)));
  }
  void reply_bytes(Ticket ticket, Bytes bytes) const { send(ticket, 0, bytes); }
  void reply_error(Ticket ticket, int error) const { send(ticket, -error, {}); }
  // For the requests to which there is no answer.
  void dismiss(Ticket ticket) const { slots_->release(ticket.slot); }

  // A request that is not in the table: what was kept has to be taken out first.
  void keep(Ticket ticket, Waiting waiting);
  // The caller answers the kept request, or keeps it again. False: its deadline has answered it,
  // and its slot may be another request's by now.
  bool take_out(Ticket ticket);
  // What waits for `node` to be registered, taken out of the table.
  std::vector<std::function<void()>> take_retries(uint64_t node);
  // What waits for any.
  std::vector<std::function<void()>> take_all_retries();
  // Answers a read that was kept, unless its deadline has done so.
  void answer(Ticket ticket, const Result<Bytes>& bytes, SteadyTime now);
  // Answers a kept request that is no read.
  template <class Reply>
  void finish(Ticket ticket, Reply reply) {
    if (take_out(ticket)) reply();
  }
  void expire(SteadyTime now);

  // Until when a request is to be answered: the read timeout after it was first taken, whichever
  // worker that was. One that is handed on when that is nearly over has another second, a quarter
  // more of the timeout at most: what held it up was the worker, and what it wants may be here.
  SteadyTime due(Ticket ticket) const;

  // Until when the reader `pid` may wait for the range: due(). Not at all (empty) when bytes of it
  // did not come in time or failed slowly a moment ago, because the kernel repeats a failed read
  // page by page at once; little when another range of the file was late for this reader, because
  // one read(2) becomes several requests, one after the other; without both, each would wait for
  // the deadline again.
  std::optional<SteadyTime> deadline(Ticket ticket, const ReadRange& range, uint32_t pid);

  // The kept read waits for these layers from now on; while one of them is silent (silence.h), not
  // for long. Empty when it was answered meanwhile.
  std::optional<Patience> waits_for(Ticket ticket, std::vector<Supplier> suppliers);

  // Who sends the requests for layers from now on. kReaders at first.
  void set_senders(Senders senders);

  void count_read(uint64_t bytes, bool waits);
  ReadCounters counters() const;

 private:
  struct LateRange {
    ReadRange range;
    SteadyTime since;
    SteadyTime until;
    bool early = false;  // it failed before its deadline
  };

  FuseConnection(UniqueFd fuse, std::unique_ptr<RequestSlots> slots, Duration read_timeout,
                 const Clock& clock)
      : fuse_(std::move(fuse)),
        slots_(std::move(slots)),
        read_timeout_(read_timeout),
        clock_(clock),
        silence_(read_timeout) {}

  template <class Which>
  std::vector<std::function<void()>> take_retries_if(Which which);
  bool ask_for_resend() const;
  void remember_times(const std::vector<uint32_t>& held);
  SteadyTime first_taken(uint64_t unique);
  FuseRequest request_in(uint32_t slot) const;
  void send(Ticket ticket, int error, Bytes bytes) const;
  // Of a layer that has become silent: its name, and how long a read of it had waited. To be logged
  // without the lock, under which nobody may wait for a log.
  struct Silenced {
    std::string layer;
    Duration waited;
  };
  using AllSilenced = std::vector<Silenced>;

  void note_failed_locked(Ticket ticket, const Waiting& waiting, const Error& error, SteadyTime now,
                          AllSilenced& silenced);
  void note_late_locked(Ticket ticket, const Waiting& waiting, SteadyTime now,
                        AllSilenced& silenced);
  void log_silenced(const AllSilenced& silenced) const;
  void note_late_reader_locked(uint64_t node, uint32_t pid, SteadyTime until);
  void shorten_locked(Waiting& waiting);

  const UniqueFd fuse_;
  const std::unique_ptr<RequestSlots> slots_;
  const Duration read_timeout_;
  const Clock& clock_;
  Recovery recovery_ = Recovery::kAuto;
  std::string recovery_reason_;

  mutable std::mutex mutex_;
  std::vector<LateRange> late_ranges_;
  Senders senders_ = Senders::kReaders;
  std::map<std::pair<uint64_t, uint32_t>, SteadyTime> late_readers_;  // node, process; until when
  Silence silence_;
  std::map<uint64_t, std::pair<Ticket, Waiting>> waiting_;  // by the kernel's unique number
  // When earlier workers took what the kernel sends again.
  std::map<uint64_t, SteadyTime> earlier_;
  ReadCounters counters_;
  Histogram waits_;
};

}  // namespace runnel::engine
