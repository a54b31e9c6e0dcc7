// One layer's device image on this node: what is here is read from disk, what is not is fetched,
// verified, answered from memory and then kept.
//
// Every chunk is in one of these states:
//
//   absent ──fetch, SHA-256──▶ arrived ──pwrite──▶ present ──fdatasync, bit──▶ durable
//   suspect ──read, SHA-256──▶ durable, or absent        (after an unclean stop no bit is believed)
//
// However many readers want a chunk, it is fetched once; a reader that comes while it is under way
// joins. A sync error makes every chunk since the last good one absent again. A full disk costs the
// cache, not the reader: the chunk stays absent and was answered from memory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "artifact/chunk_table.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/worker_pool.h"
#include "cache/validity.h"
#include "fetch/range_source.h"

namespace runnel::cache {

// Where a layer's work is done; all of it outlives the layers.
struct Workers {
  WorkerPool& verify;  // decompression and hashing
  WorkerPool& write;   // disk writes: they may block for long, and nobody waits for them
  const Clock& clock;
};

struct LayerStats {
  uint64_t bytes_present = 0;  // of the device image
  uint64_t bytes_fetched = 0;  // stored bytes, as they came over the network
  uint64_t failed_reads = 0;
  uint64_t corrupt_chunks = 0;  // arrivals whose bytes were not what the table says
  bool complete = false;        // everything is here and durable
};

// Any thread may call any method.
class Layer : public std::enable_shared_from_this<Layer> {
 public:
  using Done = std::function<void(Result<Buffer>)>;

  // `directory` exists. `trusted`: the last stop was clean, so validity bits are believed.
  static Result<std::shared_ptr<Layer>> open(const std::string& directory,
                                             artifact::ChunkTable table, bool trusted,
                                             std::shared_ptr<fetch::RangeSource> source,
                                             const Workers& workers);

  // Makes [offset, offset + length) of the device image present and hands its bytes to `done`,
  // once, on some thread (this one, when they are here). The range must be inside the image. The
  // error comes after bounded retries or soon after the deadline.
  void read(uint64_t offset, uint64_t length, fetch::Priority priority, SteadyTime deadline,
            Done done);

  // A chunk's frame that came another way (and is counted there). Verified like any other: kInvalid
  // when it is not right.
  Result<void> insert(uint32_t chunk, Bytes frame);

  // Starts background reads of what is missing, as long as `enabled`; call it from time to time: a
  // failed one is not tried again before the next call.
  void fill(bool enabled);

  // Makes what has been written durable. One caller at a time. On an error what was written since
  // the last success counts as absent.
  Result<void> sync();

  uint64_t size() const { return table_.device_size(); }
  const artifact::ChunkTable& table() const { return table_; }
  const std::string& device_path() const { return device_path_; }
  LayerStats stats() const;
  // Everything is here, verified in this run or trusted, and durable: the device file alone will
  // do.
  bool complete() const { return stats().complete; }

 private:
  enum class State : uint8_t { kAbsent, kSuspect, kPresent };

  // One read() that waits for chunks. Guarded by mutex_, until `missing` is 0.
  struct Read {
    void finish();

    uint64_t offset = 0;
    Buffer out;
    size_t missing = 0;
    std::optional<Error> error;
    Done done;
  };
  // A chunk that is being fetched, verified or written.
  struct Pending {
    std::vector<std::shared_ptr<Read>> waiting;
    SteadyTime deadline{};        // the latest of those who wait
    SteadyTime fetching_until{};  // what the source was given
    fetch::Priority priority = fetch::Priority::kBackground;
    int attempts = 0;
    std::shared_ptr<const Buffer> plain;  // once verified, until written
  };
  struct Run {
    uint32_t first;
    uint32_t last;
  };

  Layer(artifact::ChunkTable table, std::shared_ptr<fetch::RangeSource> source,
        const Workers& workers);

  void want_locked(uint32_t chunk, const std::shared_ptr<Read>& read, fetch::Priority priority,
                   SteadyTime deadline, std::vector<uint32_t>& missing,
                   std::vector<uint32_t>& suspect);
  bool read_present(Read& read, uint32_t chunk) const;
  void copy(uint32_t chunk, const Buffer& plain, Read& read) const;
  void start(const std::vector<uint32_t>& missing, const std::vector<uint32_t>& suspect,
             fetch::Priority priority, SteadyTime deadline);
  void fetch(Run run, fetch::Priority priority, SteadyTime deadline, bool fill);
  void arrived(Run run, const Result<Buffer>& frames);
  Result<std::shared_ptr<const Buffer>> verify(uint32_t chunk, Bytes frame) const;
  void check_suspect(uint32_t chunk);
  void deliver(uint32_t chunk, std::shared_ptr<const Buffer> plain, bool new_data);
  void write(uint32_t chunk, const Buffer& plain);
  void came_corrupt(uint32_t chunk, const Error& error);
  void fetch_failed(uint32_t chunk, const Error& error);
  void give_up(uint32_t chunk, const Error& error);
  void fill_next();
  void fill_arrived(bool good);

  const artifact::ChunkTable table_;
  const std::shared_ptr<fetch::RangeSource> source_;
  const Workers workers_;
  std::string device_path_;
  UniqueFd device_;

  mutable std::mutex mutex_;
  std::vector<State> states_;
  std::map<uint32_t, Pending> pending_;
  std::vector<uint32_t> unsynced_;  // present, not durable
  uint64_t present_bytes_ = 0;
  uint32_t durable_chunks_ = 0;
  LayerStats stats_;
  bool filling_ = false;
  SteadyTime fill_after_{};
  uint32_t fill_cursor_ = 0;
  unsigned fills_in_flight_ = 0;

  std::optional<Validity> validity_;  // sync() alone uses it, after open()
};

}  // namespace runnel::cache
