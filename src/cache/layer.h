// One layer's device image on this node: what is here is read from disk, what is not is fetched,
// verified, answered from memory and then kept.
//
// Every chunk is in one of these states:
//
//   absent ──fetch, SHA-256──▶ (arrived) ──pwrite──▶ written ──fdatasync, bit──▶ durable
//   suspect ──read, SHA-256──▶ written, or absent                     (chunk_states.h has them)
//
// However many readers want a chunk, it is fetched once; a reader that comes while it is under way
// joins, and one that is more urgent has it fetched by itself, ahead of the queue.
//
// Only a durable chunk is read from the file without a look at its bytes: a write that "succeeded"
// may still be lost on its way to the disk, and then the file has zeros there until fdatasync says
// so. A written chunk is answered from memory, or hashed again. A sync error makes every chunk
// since the last good one absent. After an unclean stop every bit is suspect, and what is found
// right in the file is written, not durable: it may be right in the page cache only, where a worker
// left it that was killed before its sync. A failed write costs
// the cache, not the reader; below the budget's reserve nothing is fetched any more (kExhausted).
// So does a disk that takes less than the network brings: what is verified when too much waits to
// be written (kMostKept) goes to its readers, and is absent again.
//
// A chunk that another open layer of the node has durable is taken from there, and hashed again,
// whatever it is wanted for; only when it is not there any more it is fetched (chunk_index.h).
//
// A chunk that the source refuses, or gives wrong again and again, is *lost*: the original layer is
// downloaded and every absent chunk made from it (rescue.h). The same is tried when the source has
// been silent for a quarter of a read's time. A lost chunk waits as long as its readers have time,
// for another attempt at the original or the source.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "artifact/chunk_table.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/wait_group.h"
#include "base/worker_pool.h"
#include "cache/budget.h"
#include "cache/chunk_bytes.h"
#include "cache/chunk_index.h"
#include "cache/chunk_states.h"
#include "cache/read_bytes.h"
#include "cache/refusals.h"
#include "cache/rescue.h"
#include "cache/rescue_queue.h"
#include "cache/storage.h"
#include "cache/touches.h"
#include "cache/validity.h"
#include "cache/write_behind.h"
#include "fetch/range_source.h"

namespace runnel::cache {

// Where layers' work is done and what they share; all of it outlives the layers.
struct Workers {
  WorkerPool& verify;   // decompression, hashing, reads of what is not durable
  WorkerPool& write;    // disk writes: they may block for long, and nobody waits for them
  RescueQueue& rescue;  // whole downloads of original layers; block on network and disk
  const Clock& clock;
  std::atomic<uint64_t>& kept_bytes;  // verified bytes in memory that are not durable yet
  Budget& budget;
  bool read_ahead = true;
  ChunkIndex* chunks = nullptr;   // of all layers; null: none takes from another
  WriteBehind* behind = nullptr;  // for the writes of hot packs; null: none of them waits
  WaitGroup* at_work = nullptr;   // what is on `verify`, or will come to it; null: nobody asks
};

struct LayerStats {
  uint64_t bytes_present = 0;    // of the device image, in its file
  uint64_t bytes_in_memory = 0;  // likewise: verified, read from memory, and not in the file yet
  uint64_t bytes_fetched = 0;    // stored bytes of chunks that came over the network for this layer
  uint64_t bytes_borrowed = 0;   // of the device image, taken from other layers on this node
  uint64_t failed_reads = 0;
  uint64_t corrupt_chunks = 0;   // arrivals whose bytes were not what the table says
  uint64_t bytes_restored = 0;   // of the device image, made from the original layer
  uint64_t bytes_not_kept = 0;   // likewise, verified and let go: too much waited to be written
  uint64_t rescues = 0;          // times that the original layer was turned to
  std::string rescue_error;      // of the last of them; empty when it was good
  std::string last_error;        // of a read, a write or an arrival; empty when there was none
  uint64_t scrubbed_bytes = 0;   // read from disk again and compared
  uint64_t damaged_chunks = 0;   // of those, what was wrong
  uint64_t repaired_chunks = 0;  // and is right and durable again
  bool complete = false;         // everything is here, verified in this run or trusted, and durable
};

struct ReadAhead;

// What a layer's sources (blob and original) have lately done; none of it before the layer was
// opened.
struct SourceSigns {
  SteadyTime asked{};  // when chunks were asked for last
  SteadyTime bytes{};  // when bytes came last, of whatever they were
  SteadyTime chunk{};  // when a chunk came last whole and right
};

// Any thread may call any method. The methods stand in files by what they are about: layer_read,
// layer_ahead, layer_fetch, layer_borrow, layer_expect, layer_keep, layer_fill, layer_scrub;
// opening and closing in layer.cc.
class Layer : public std::enable_shared_from_this<Layer> {
 public:
  using Done = std::function<void(Result<ReadBytes>)>;

  // How long a reader waits for a chunk that comes another way before it is fetched as well.
  static constexpr Duration kExpectedWithin = std::chrono::seconds(1);

  // Of all layers of the node: verified bytes that are not durable yet, besides those of hot packs
  // that wait to be written behind. What is not kept comes over the network once more, so this is
  // more than a disk lags behind in a second or two; and it is memory.
  static constexpr uint64_t kMostKept = uint64_t{256} << 20;

  // What is found in `storage` is believed only when its last user closed it.
  enum class Left : uint8_t { kAnyhow, kClosed };
  static Result<std::shared_ptr<Layer>> open(std::unique_ptr<Storage> storage,
                                             artifact::ChunkTable table,
                                             std::shared_ptr<fetch::RangeSource> source,
                                             const Workers& workers, Left left = Left::kAnyhow);

  ~Layer();

  // Makes [offset, offset + length) of the device image present and hands its bytes to `done`,
  // once, on some thread (this one, when they are here). The range must be inside the image. The
  // error comes after bounded retries, and at the deadline at the latest as long as somebody calls
  // expire(). The call may wait for the disk. What has to be fetched for it may take until
  // `fetch_until`, if that is later: it is kept although nobody waits any more.
  void read(uint64_t offset, uint64_t length, fetch::Priority priority, SteadyTime deadline,
            Done done, SteadyTime fetch_until = {});

  // Fills `into` when that needs neither the network nor the disk; never waits for either. False
  // otherwise, and `into` may hold anything then.
  bool read_now(uint64_t offset, MutableBytes into);

  // Where else the layer can be had.
  void add_original(const Original& original);

  // Somebody brought a credential: what source and original had refused may be read now.
  void credentials_changed();

  // Ends the reads whose deadline has passed, and begins what is due. Touches no file.
  void expire(SteadyTime now);

  // Whether the chunk is durable; and its bytes then, unverified: for other layers. Reads the disk.
  bool holds(uint32_t chunk) const;
  Result<void> lend(uint32_t chunk, MutableBytes into) const;
  // Its files are deleted: whoever still reads it goes on, and for others it holds nothing. A cache
  // that was emptied would otherwise not be empty for the next pull.
  void lend_no_more() { lends_ = false; }

  // Of these chunks, those that are absent, that nobody is at and that no other layer of the node
  // has (these are taken from there): they come another way, soon. Who
  // wants one of them waits for insert(), and has it fetched when that takes kExpectedWithin. What
  // is returned must be told to expect_no_more() in the end. kExhausted when the disk has no room
  // for them.
  Result<std::vector<uint32_t>> expect(const std::vector<uint32_t>& chunks);
  // Those that have not come are absent as ever, and fetched when somebody waits.
  void expect_no_more(const std::vector<uint32_t>& chunks);
  // The same, and all of them are fetched from the source, whoever waits.
  void fetch_expected(const std::vector<uint32_t>& chunks);
  // A chunk's frame that came another way. Verified like any other: kInvalid when it is not right,
  // kExhausted when the disk is full. Not among bytes_fetched: who brought it counts it.
  Result<void> insert(uint32_t chunk, Bytes frame);
  // The same on the threads that verify what is fetched; `done` is called there.
  void insert_later(uint32_t chunk, Buffer frame, std::function<void(Result<void>)> done);

  // So much waits to be written that who reads only for that something is kept should wait: it may
  // not be. Takes no lock.
  bool is_ahead_of_disk() const { return keeps(kMostKept / 2); }

  // Starts background reads of what is missing, as long as `enabled`; call it from time to time: a
  // failed one is not tried again before the next call, and later each time when the source refuses
  // (refusals.h). They wait until nobody waits for bytes, but for a layer of which readers missed a
  // third: they are going to want the rest.
  void fill(bool enabled);

  // Fills from now on whatever fill() is told, and faster: the source may soon be out of reach.
  void hurry();

  // Makes what has been written durable. One caller at a time. On an error what was written since
  // the last success counts as absent, and the fill pauses.
  Result<void> sync();

  // Compares the chunk on the disk itself with its digest, if it is there; a damaged one is absent
  // from now on, fetched again, and written in its place. Waits for the disk. Returns the bytes
  // read.
  uint64_t scrub(uint32_t chunk);

  // The last sync; and whether the next process may believe what is here, which it is told by
  // Left::kClosed: there is something, and all of it was looked at after an earlier unclean stop.
  // Nothing may be under way any more, nor come.
  Result<bool> close();

  // The chunks that were read on demand since the layer was opened, in the order of their first
  // read; the first Touches::kMaxOrder of them.
  std::vector<Touch> touches() const;
  // When the first and the last of them were, of those that are not before `since`. Cheap.
  std::optional<TouchSpan> touched(SteadyTime since) const;

  uint64_t size() const { return table_.device_size(); }
  const artifact::ChunkTable& table() const { return table_; }
  std::string device_path() const { return storage_->path("device"); }
  LayerStats stats() const;
  // Takes no lock.
  SourceSigns signs() const;
  // Of the device file, in the kernel's memory. Does not wait for the disk.
  uint64_t page_cache_bytes() const { return device_->in_page_cache(); }
  // The device file alone will do.
  bool complete() const { return stats().complete; }

 private:
  static constexpr uint32_t kMaxRunChunks = 32;
  // Like kMostKept: above it memory is let go early and the fill waits.
  static constexpr uint64_t kKeptLimit = 64 << 20;

  // What becomes of verified bytes when everyone who waits has them.
  enum class Keep : uint8_t {
    kOnDisk,  // nothing: they come from there
    kIfRoom,  // they are written, unless too much waits for that
    kAlways,  // they are written
  };

  using State = ChunkStates::State;

  // One read() that waits for chunks. Guarded by mutex_, but for the bytes of `out` while `missing`
  // is not 0: each part of them has one writer.
  struct Read {
    void finish();
    bool is_within(uint64_t begin, uint64_t end) const;
    MutableBytes part(uint64_t begin, uint64_t end) const;

    uint64_t offset = 0;
    uint64_t length = 0;
    std::shared_ptr<ChunkBytes> out;      // null: one chunk has all, and is in memory or to come
    std::optional<ReadBytes> from_chunk;  // a part of that
    size_t missing = 0;
    SteadyTime deadline{};
    SteadyTime fetch_until{};
    bool ended = false;  // somebody has called `done`, or is about to
    std::optional<Error> error;
    Done done;
  };
  using Reads = std::vector<std::shared_ptr<Read>>;

  // A chunk that is being fetched, verified or written.
  struct Pending {
    Reads waiting;
    SteadyTime deadline{};        // the latest of those who wait, and of what they let a fetch take
    SteadyTime fetching_until{};  // what the source was given
    fetch::Priority priority = fetch::Priority::kBackground;
    fetch::Priority fetch_priority = fetch::Priority::kBackground;
    int fetches = 0;  // under way; a second one when somebody urgent came
    int attempts = 0;
    SteadyTime asked{};     // when the first reader came
    bool expected = false;  // comes another way; nothing is fetched
    bool lost = false;      // waits for the original; nothing is fetched
    bool denied = false;    // by the source, when it was last lost
    SteadyTime lost_at{};
    std::string why_lost;
    SteadyTime arrived{};                     // the last bytes of it, unverified
    uint32_t touch = Touches::kNotKept;       // of touches_: its first read waits
    bool retry = false;                       // to be fetched once more
    std::shared_ptr<const ChunkBytes> plain;  // once verified, until written
  };
  struct Run {
    uint32_t first;
    uint32_t last;
  };
  // What a read found that nobody is at yet.
  struct Wanted {
    std::vector<uint32_t> missing;    // to be fetched
    std::vector<uint32_t> overtaken;  // being fetched, with less haste
    std::vector<uint32_t> unchecked;  // on disk, to be hashed
  };

  Layer(std::unique_ptr<Storage> storage, artifact::ChunkTable table,
        std::shared_ptr<fetch::RangeSource> source, const Workers& workers);

  void want_locked(uint32_t chunk, const std::shared_ptr<Read>& read, fetch::Priority priority,
                   Wanted& wanted);
  bool touch_locked(uint32_t chunk, uint64_t offset, SteadyTime now);
  void note_wait_locked(uint32_t chunk);
  void end_wait_locked(uint32_t chunk, const Pending& pending);
  static bool arrive_locked(Read& read);
  bool read_durable(Read& read, uint32_t chunk) const;
  bool admit(Run run);
  void give(uint32_t chunk, const std::shared_ptr<const ChunkBytes>& plain, Read& read) const;
  Error too_late_locked(const Read& read, const Pending& pending) const;
  void start(const Wanted& wanted, fetch::Priority priority, SteadyTime deadline);
  std::shared_ptr<Layer> at_work();
  struct FillRun;
  static std::vector<Run> runs_of(const std::vector<uint32_t>& chunks);
  bool can_borrow(uint32_t chunk) const;
  std::vector<uint32_t> borrow(const std::vector<uint32_t>& chunks, fetch::Priority priority,
                               SteadyTime deadline, const std::shared_ptr<FillRun>& fill = nullptr);
  bool take(uint32_t chunk, const ChunkIndex::Place& from, const std::shared_ptr<FillRun>& fill);
  void note_fetch(Run run, fetch::Priority priority, SteadyTime deadline);
  fetch::RangeSource::Part part_of(Run run, const std::shared_ptr<FillRun>& fill = nullptr);
  void fetch_each(const std::vector<uint32_t>& chunks, fetch::Priority priority,
                  SteadyTime deadline, const std::shared_ptr<FillRun>& fill = nullptr);
  void fetch(Run run, fetch::Priority priority, SteadyTime deadline);
  void came(Run run);
  void arrived(Run run, const Result<Buffer>& frames, SteadyTime came);
  void source_worked();
  bool still_wanted(uint32_t chunk, SteadyTime came);
  Result<std::shared_ptr<const ChunkBytes>> verify(uint32_t chunk, Bytes frame) const;
  void check_on_disk(uint32_t chunk);
  bool answer(uint32_t chunk, const std::shared_ptr<const ChunkBytes>& plain, Keep keep);
  void deliver(uint32_t chunk, const std::shared_ptr<const ChunkBytes>& plain, Keep keep);
  void write_later(uint32_t chunk, const std::shared_ptr<const ChunkBytes>& plain);
  bool keeps(uint64_t bytes) const;
  bool keeps_much() const { return keeps(kKeptLimit); }
  void write(uint32_t chunk, Bytes plain);
  Result<void> write_to_device(uint32_t chunk, Bytes plain);
  Result<void> make_durable(const ChunkStates::Round& round);
  void drop_locked(uint32_t chunk);
  void forget_recent_locked(uint32_t chunk);
  void came_corrupt(uint32_t chunk, const Error& error);
  void fetch_failed(uint32_t chunk, const Error& error);
  void lose(uint32_t chunk, const Error& error);
  void give_up(uint32_t chunk, const Error& error);
  void watch_silence_locked(SteadyTime now);
  bool is_overdue(const Pending& pending, SteadyTime now) const;
  void fetch_again(SteadyTime now);
  void begin_rescue(SteadyTime now);
  std::optional<SteadyTime> earliest_deadline() const;
  void rescue();
  Result<void> restored(uint32_t chunk, Bytes bytes);
  bool is_wanted(uint32_t chunk, Bytes plain);
  void rescue_ended(const Result<void>& outcome);
  bool is_idle_on_disk(uint32_t chunk) const;
  bool count_repaired_locked(uint32_t chunk);  // whether it had been damaged
  bool was_touched_locked(uint32_t first, uint32_t last) const;
  void read_ahead_of(const std::vector<uint32_t>& touched, bool missed);
  void want_around_locked(uint32_t chunk, const ReadAhead& window, bool missed,
                          std::vector<uint32_t>& ahead) const;
  bool may_fill_locked() const;
  void pause_fill_locked();
  bool is_hurried_locked() const;
  unsigned fills_allowed_locked() const;
  void fill_next();
  void fill_arrived(FillRun& run, bool good);
  log::Fields about() const;

  const artifact::ChunkTable table_;
  const std::shared_ptr<fetch::RangeSource> source_;
  const Workers workers_;
  const std::unique_ptr<Storage> storage_;
  std::unique_ptr<File> device_;
  std::atomic<SteadyTime> asked_at_;
  std::atomic<SteadyTime> original_heard_at_;
  std::atomic<SteadyTime> chunk_came_at_;
  std::atomic<bool> lends_ = true;

  mutable std::mutex mutex_;  // never held over a system call
  ChunkStates states_;
  std::map<uint32_t, Pending> pending_;
  std::set<uint32_t> awaited_;  // of pending_, those with somebody waiting: few among many
  std::map<uint32_t, std::shared_ptr<const ChunkBytes>>
      recent_;                    // written ones, while memory allows
  std::set<uint32_t> damaged_;    // found by scrub(), and not repaired yet
  uint64_t unwritten_bytes_ = 0;  // of pending_, verified
  uint64_t sync_failures_ = 0;
  LayerStats stats_;
  Touches touches_;
  std::vector<bool> came_ahead_;  // or are about to
  std::vector<Origin> origins_;   // likewise
  Rescue rescue_;
  bool filling_ = false;
  bool hurried_ = false;
  uint64_t missed_bytes_ = 0;  // first read, and brought by no hot pack
  SteadyTime fill_after_{};
  Refusals refusals_;  // of the source, as the fill takes them
  uint32_t fill_cursor_ = 0;
  unsigned fills_in_flight_ = 0;

  // sync() alone uses these, after open().
  std::optional<Validity> validity_;
  bool names_durable_ = false;
};

}  // namespace runnel::cache
