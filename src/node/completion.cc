#include "node/completion.h"

#include <condition_variable>
#include <optional>

#include "base/log.h"

namespace runnel::node {

namespace {

using std::chrono::seconds;

constexpr uint64_t kPiece = 1 << 20;
constexpr int kInFlight = 8;
constexpr auto kReadTime = seconds(60);   // of one piece
constexpr auto kDiskTime = seconds(120);  // until what has come is written, and is durable

// Reads in flight. Shared with their answers, which may come after everybody else has gone.
class Window {
 public:
  // Waits for a place; false when the run shall end.
  bool enter(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    const bool room =
        changed_.wait(lock, stop, [this] { return in_flight_ < kInFlight || error_; });
    if (!room || error_) return false;
    ++in_flight_;
    return true;
  }
  void leave(const Result<Buffer>& answer) {
    const std::lock_guard lock(mutex_);
    if (!answer && !error_) error_ = answer.error();
    --in_flight_;
    changed_.notify_all();
  }
  // The first error once all have answered; kCancelled when told to stop.
  Result<void> drain(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [this] { return in_flight_ == 0; }))
      return fail(Code::kCancelled, "the node stops");
    if (error_) return std::unexpected(*error_);
    return {};
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int in_flight_ = 0;
  std::optional<Error> error_;
};

// Looks every now and then; kUnavailable with `why` when that takes longer than any disk should.
Result<void> wait_for(auto condition, const char* why, const std::stop_token& stop) {
  const auto deadline = std::chrono::steady_clock::now() + kDiskTime;
  std::mutex mutex;
  std::condition_variable_any timer;
  std::unique_lock lock(mutex);
  while (!condition()) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "the node stops");
    if (std::chrono::steady_clock::now() > deadline) return fail(Code::kUnavailable, "{}", why);
    timer.wait_for(lock, stop, std::chrono::milliseconds(100), [] { return false; });
  }
  return {};
}

// No faster than the disk takes it: beyond that nothing is kept.
Result<void> fetch_all(cache::Layer& layer, const std::stop_token& stop) {
  const auto window = std::make_shared<Window>();
  for (uint64_t offset = 0; offset < layer.size() && window->enter(stop); offset += kPiece) {
    RUNNEL_DO(wait_for([&] { return !layer.is_ahead_of_disk(); },
                       "the disk does not take what comes", stop));
    layer.read(offset, std::min(kPiece, layer.size() - offset), fetch::Priority::kPrefetch,
               std::chrono::steady_clock::now() + kReadTime,
               [window](const Result<Buffer>& answer) { window->leave(answer); });
  }
  return window->drain(stop);
}

// The cache makes writes durable once a second.
Result<void> wait_until_durable(const cache::Layer& layer, uint64_t present_before,
                                const std::stop_token& stop) {
  const auto made_durable = [&] {
    if (layer.complete()) return true;
    // Nothing is left to be written, and not all is here: what containers read meanwhile had filled
    // the memory. The next round brings the rest, as long as each brings something.
    const auto stats = layer.stats();
    return stats.bytes_in_memory == 0 && stats.bytes_present < layer.size() &&
           stats.bytes_present > present_before;
  };
  return wait_for(made_durable, "its bytes do not become durable: is the disk full?", stop);
}

Result<void> complete_layer(cache::Layer& layer, const std::stop_token& stop) {
  while (!layer.complete()) {
    const uint64_t present_before = layer.stats().bytes_present;
    RUNNEL_DO(fetch_all(layer, stop));
    RUNNEL_DO(wait_until_durable(layer, present_before, stop));
  }
  return {};
}

}  // namespace

Completion::~Completion() = default;

void Completion::start() {
  const std::lock_guard lock(mutex_);
  if (running_) return;
  error_.clear();
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  running_ = true;  // it waits for the lock before it says that it has ended
}

void Completion::run(const std::stop_token& stop) {
  auto outcome = [&]() -> Result<void> {
    RUNNEL_TRY(const auto layers, engine_.mounted_layers());
    for (const auto& layer : layers) {
      if (auto done = complete_layer(*layer, stop); !done)
        return std::unexpected(done.error().in(layer->device_path()));
    }
    return {};
  }();
  if (!outcome) log::warning("mounted images cannot be completed: {}", outcome.error().message);
  const std::lock_guard lock(mutex_);
  running_ = false;
  if (!outcome) error_ = outcome.error().message;
}

Completion::Status Completion::status() const {
  Status status;
  const auto layers = engine_.mounted_layers();
  if (layers) {
    status.complete = true;
    for (const auto& layer : *layers) {
      status.complete = status.complete && layer->complete();
      status.bytes_missing += layer->size() - std::min(layer->size(), layer->stats().bytes_present);
    }
  }
  const std::lock_guard lock(mutex_);
  status.running = running_;
  status.error = layers ? error_ : layers.error().message;
  return status;
}

}  // namespace runnel::node
