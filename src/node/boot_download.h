// A boot blob on its way. Head and tables come first, and an image is mounted when they are here;
// the hot pack streams into the cache behind them, while containerd makes the container and the
// container begins to run.
//
//    the download's thread   registry ──▶ waiting_ ──▶ frames ──▶ cache::Layer::insert_later()
//    who prepares the image          take(head), take(tables) ──▶ verify, keep ──▶ unpack()
//
// Between the two the line does not rest: up to kMostWaiting bytes are held until unpack() is
// called. One that nobody takes anything of within its patience ends by itself, and holds nothing.
// A chunk of the hot pack is verified as any other chunk is; one that does not come, or comes
// wrong, is fetched when it is read.
//
// Where other images of this node have most of a pack's chunks, or are about to bring them, the
// pack is not read on, and what is lacking is fetched by itself: twenty images on one base that are
// pulled at once would bring the base's part twenty times.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "artifact/open_boot.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "cache/layer.h"

namespace runnel::node {

class BootDownload {
 public:
  static constexpr uint64_t kMostWaiting = uint64_t{16} << 20;
  // Where a part of the layers is here already, or about to come, the pack may not be needed. Then
  // so much is asked for behind the head, in which tables mostly are; and no more before unpack(),
  // because what is on its way fills the line and the sockets' buffers whoever waits.
  static constexpr uint64_t kBehindHeadOfKnown = uint64_t{256} << 10;
  static constexpr uint64_t kMostWaitingOfKnown = 1;
  // A pack is read on when at least this part of its bytes is lacking: as ranges, they cost a
  // request for each place.
  static constexpr double kWorthReading = 0.5;
  // Frames that are being verified: what a reader wants meanwhile stands behind them. When half of
  // them are done, the next ones are handed out: one by one would be two switches of threads each.
  static constexpr uint64_t kMostInFlight = uint64_t{1} << 20;

  // Hands a blob's bytes to its argument in their order, and blocks until all have come or the
  // argument fails. For a bounded time, as long as no bytes come.
  using Fetch = std::function<Result<void>(const std::function<Result<void>(Bytes)>&)>;

  // Begins at once, in a thread of its own; where none can be made, `fetch` has ended when this
  // returns. `image` is for the log. At most `most_waiting` bytes are held before unpack(). With
  // `patience`, it is cancelled unless take() is called by then, or where no thread can be made.
  BootDownload(std::string image, Fetch fetch, uint64_t most_waiting = kMostWaiting,
               std::optional<Duration> patience = std::nullopt);
  // Cancels, and waits for `fetch`.
  ~BootDownload();
  BootDownload(const BootDownload&) = delete;
  BootDownload& operator=(const BootDownload&) = delete;

  // The next bytes, which nobody has verified. Waits for them until `deadline`, kUnavailable then:
  // a registry that drips never stalls. kCancelled after cancel(). One thread, before unpack().
  Result<Buffer> take(uint64_t size, SteadyTime deadline);

  // What follows is the hot pack of `boot`; its chunks go into `layers`, by slot from 1. Returns at
  // once; from then on whoever reads one of them waits for it. Ends the download, and has what is
  // lacking fetched, when that is little. kExhausted when the disk has no room for the chunks,
  // kInvalid when a layer has no such chunk. Once, unless it fails.
  Result<void> unpack(const artifact::Boot& boot,
                      const std::vector<std::shared_ptr<cache::Layer>>& layers);

  // Nothing goes to a layer any more once this has returned. Any thread.
  void cancel();
  // Whether the destructor would wait for nothing. Any thread.
  bool is_over();

 private:
  struct Frame {
    std::shared_ptr<cache::Layer> layer;
    uint32_t chunk = 0;
    uint32_t size = 0;
  };
  struct Expected {
    std::shared_ptr<cache::Layer> layer;
    std::vector<uint32_t> chunks;
  };

  template <class Ready>
  void wait_for_somebody_locked(std::unique_lock<std::mutex>& lock, Ready ready);
  void receive(const Fetch& fetch);
  Result<void> arrived(Bytes piece);
  void hand_out();
  void hand_out_waiting_locked(std::unique_lock<std::mutex>& lock);
  void hand_out_locked(std::unique_lock<std::mutex>& lock, Bytes bytes);
  void frame_done(uint64_t size, const Result<void>& outcome);
  static Result<std::vector<Expected>> expect(const std::vector<Frame>& frames);
  static void release(const std::vector<Expected>& expected);
  void fetch_alone(const std::vector<Expected>& expected);

  const std::string image_;

  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t most_waiting_;
  uint64_t wanted_ = 0;                // by take()
  std::optional<SteadyTime> expires_;  // until somebody takes
  Buffer waiting_;
  bool ended_ = false;  // no more will come
  std::optional<Error> error_;
  bool unpacking_ = false;
  bool cancelled_ = false;
  std::vector<Frame> frames_;  // those from next_frame_ have not been handed out
  size_t next_frame_ = 0;
  Buffer filling_;  // what has come of the next frame
  std::vector<Expected> expected_;
  uint64_t in_flight_ = 0;
  bool over_ = false;
  size_t refused_ = 0;  // frames that were not what they should be

  std::thread thread_;
};

}  // namespace runnel::node
