#include "node/boot_download.h"

#include <algorithm>
#include <map>
#include <system_error>
#include <utility>

#include "base/log.h"

namespace runnel::node {

namespace {

// Of what is awaited in one piece, before any of it has come.
constexpr uint64_t kMostReserved = uint64_t{64} << 20;

}  // namespace

BootDownload::BootDownload(std::string image, Fetch fetch, uint64_t most_waiting,
                           std::optional<Duration> patience)
    : image_(std::move(image)), most_waiting_(most_waiting) {
  if (patience) expires_ = std::chrono::steady_clock::now() + *patience;
  try {
    thread_ = std::thread([this, fetch] {  // a copy: without a thread it is still needed
      receive(fetch);
      hand_out();
    });
  } catch (const std::system_error&) {
    if (patience) {  // nobody may wait for what nobody may want
      cancelled_ = ended_ = over_ = true;
      return;
    }
    most_waiting_ = UINT64_MAX;  // nobody takes any before all have come
    receive(fetch);
  }
}

BootDownload::~BootDownload() {
  cancel();
  if (thread_.joinable()) thread_.join();
}

// Until `ready`, or until it is cancelled, which it is when nobody has come in time.
template <class Ready>
void BootDownload::wait_for_somebody_locked(std::unique_lock<std::mutex>& lock, Ready ready) {
  for (;;) {
    if (expires_ && std::chrono::steady_clock::now() >= *expires_) {
      cancelled_ = true;
      waiting_ = {};
    }
    if (cancelled_ || ready()) return;
    if (expires_) {
      changed_.wait_until(lock, *expires_);
    } else {
      changed_.wait(lock);
    }
  }
}

void BootDownload::receive(const Fetch& fetch) {
  const auto outcome = fetch([this](Bytes piece) { return arrived(piece); });
  const std::lock_guard lock(mutex_);
  ended_ = true;
  if (!outcome) error_ = outcome.error();
  changed_.notify_all();
}

Result<void> BootDownload::arrived(Bytes piece) {
  std::unique_lock lock(mutex_);
  if (!unpacking_) {
    waiting_.insert(waiting_.end(), piece.begin(), piece.end());
    piece = {};
    changed_.notify_all();
    wait_for_somebody_locked(
        lock, [this] { return unpacking_ || waiting_.size() < std::max(wanted_, most_waiting_); });
  }
  if (unpacking_) {
    hand_out_waiting_locked(lock);
    hand_out_locked(lock, piece);
  }
  if (cancelled_) return fail(Code::kCancelled, "nobody needs the boot blob any more");
  return {};
}

Result<Buffer> BootDownload::take(uint64_t size, SteadyTime deadline) {
  std::unique_lock lock(mutex_);
  expires_.reset();
  wanted_ = size;
  waiting_.reserve(std::min(size, kMostReserved));
  changed_.notify_all();
  const bool decided = changed_.wait_until(
      lock, deadline, [&] { return ended_ || cancelled_ || waiting_.size() >= size; });
  if (!decided)
    return fail(Code::kUnavailable, "boot blob: {} of {} bytes that a mount needs came in time",
                waiting_.size(), size);
  if (waiting_.size() < size) {
    if (cancelled_) return fail(Code::kCancelled, "boot blob: cancelled");
    if (error_) return std::unexpected(*error_);
    return fail(Code::kInvalid, "boot blob: it ends {} bytes early", size - waiting_.size());
  }
  // What is left is mostly less than what is taken: that is what is copied.
  const auto end = waiting_.begin() + static_cast<ptrdiff_t>(size);
  Buffer rest(end, waiting_.end());
  waiting_.erase(end, waiting_.end());
  wanted_ = 0;
  changed_.notify_all();  // there is room again
  return std::exchange(waiting_, std::move(rest));
}

Result<void> BootDownload::unpack(const artifact::Boot& boot,
                                  const std::vector<std::shared_ptr<cache::Layer>>& layers) {
  std::vector<Frame> frames;
  frames.reserve(boot.head.hot.size());
  for (const auto& entry : boot.head.hot) {
    const auto& layer = layers[boot.head.layers[entry.layer].slot - 1];
    // The layer's own table, for the layer takes the frame by that one.
    if (entry.chunk >= layer->table().size()) {
      return fail(Code::kInvalid, "hot pack: chunk {} of layer {}, which has {}", entry.chunk,
                  entry.layer, layer->table().size());
    }
    frames.push_back(
        {.layer = layer, .chunk = entry.chunk, .size = layer->table().at(entry.chunk).stored_size});
  }
  RUNNEL_TRY(auto expected, expect(frames));
  uint64_t all = 0;
  uint64_t lacking = 0;
  for (const auto& frame : frames) all += frame.size;
  for (const auto& [layer, chunks] : expected)
    for (const uint32_t chunk : chunks) lacking += layer->table().at(chunk).stored_size;
  if (static_cast<double>(lacking) < static_cast<double>(all) * kWorthReading) {
    fetch_alone(expected);
    return {};
  }
  {
    const std::lock_guard lock(mutex_);
    frames_ = std::move(frames);
    expected_ = std::move(expected);
    unpacking_ = true;
    changed_.notify_all();
  }
  if (!thread_.joinable()) hand_out();
  return {};
}

Result<std::vector<BootDownload::Expected>> BootDownload::expect(const std::vector<Frame>& frames) {
  std::map<std::shared_ptr<cache::Layer>, std::vector<uint32_t>> by_layer;
  for (const auto& frame : frames) by_layer[frame.layer].push_back(frame.chunk);
  std::vector<Expected> expected;
  for (const auto& [layer, chunks] : by_layer) {
    auto absent = layer->expect(chunks);
    if (!absent) {
      release(expected);
      return std::unexpected(absent.error());
    }
    expected.push_back({.layer = layer, .chunks = *std::move(absent)});
  }
  return expected;
}

void BootDownload::release(const std::vector<Expected>& expected) {
  for (const auto& [layer, chunks] : expected) layer->expect_no_more(chunks);
}

void BootDownload::fetch_alone(const std::vector<Expected>& expected) {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }
  if (!thread_.joinable()) hand_out();
  for (const auto& [layer, chunks] : expected) layer->fetch_expected(chunks);
}

// The last of it, and what becomes of what did not come.
void BootDownload::hand_out() {
  std::vector<Expected> expected;
  std::string complaint;
  {
    std::unique_lock lock(mutex_);
    wait_for_somebody_locked(lock, [this] { return unpacking_; });
    hand_out_waiting_locked(lock);
    changed_.wait(lock, [this] { return in_flight_ == 0; });
    const size_t lacking = frames_.size() - next_frame_ + refused_;
    if (!cancelled_ && lacking > 0)
      complaint = fmt::format(
          "{} of the {} chunks of the hot pack did not come, and are fetched when they are read: "
          "{}",
          lacking, frames_.size(), error_ ? error_->message : "it ends early");
    expected = std::exchange(expected_, {});
    frames_ = {};
    next_frame_ = 0;
    filling_ = {};
    over_ = true;
  }
  if (!complaint.empty()) log::warning(log::Fields{{"image", image_}}, "{}", complaint);
  release(expected);
}

// What came before unpack().
void BootDownload::hand_out_waiting_locked(std::unique_lock<std::mutex>& lock) {
  const Buffer bytes = std::exchange(waiting_, {});
  hand_out_locked(lock, bytes);
}

// The next bytes: frames that they complete go on, as fast as they are verified.
void BootDownload::hand_out_locked(std::unique_lock<std::mutex>& lock, Bytes bytes) {
  while (!cancelled_ && !bytes.empty() && next_frame_ < frames_.size()) {
    const Frame& frame = frames_[next_frame_];
    const Bytes part = bytes.first(std::min(bytes.size(), frame.size - filling_.size()));
    filling_.reserve(frame.size);
    filling_.insert(filling_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    if (filling_.size() < frame.size) return;
    changed_.wait(lock, [&] {
      return cancelled_ || in_flight_ == 0 || in_flight_ + frame.size <= kMostInFlight;
    });
    if (cancelled_) return;
    in_flight_ += frame.size;
    ++next_frame_;
    lock.unlock();
    frame.layer->insert_later(
        frame.chunk, std::exchange(filling_, {}),
        [this, size = frame.size](const Result<void>& outcome) { frame_done(size, outcome); });
    lock.lock();
  }
}

void BootDownload::frame_done(uint64_t size, const Result<void>& outcome) {
  const std::lock_guard lock(mutex_);
  in_flight_ -= size;
  if (!outcome) {
    ++refused_;
    if (!error_) error_ = outcome.error().in("a chunk of it");
  }
  if (in_flight_ <= kMostInFlight / 2) changed_.notify_all();
}

bool BootDownload::is_over() {
  const std::lock_guard lock(mutex_);
  return over_;
}

void BootDownload::cancel() {
  std::vector<Expected> expected;
  {
    std::unique_lock lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return in_flight_ == 0; });
    expected = std::exchange(expected_, {});
  }
  release(expected);
}

}  // namespace runnel::node
