#include "net/watchdog.h"

namespace runnel::net {

namespace {
constexpr SteadyTime kNever = SteadyTime::max();
}

struct Watchdog::State : std::enable_shared_from_this<State> {
  State(const boost::asio::any_io_executor& executor, std::function<void()> e)
      : timer(executor), expired(std::move(e)) {}

  void arm() {
    rings_at = deadline;
    timer.expires_at(deadline);
    timer.async_wait([weak = weak_from_this()](boost::system::error_code error) {
      const auto self = weak.lock();
      if (self && !error) self->ring();
    });
  }

  void ring() {
    rings_at = kNever;
    if (deadline == kNever) return;
    if (std::chrono::steady_clock::now() < deadline) return arm();
    deadline = kNever;
    expired();
  }

  boost::asio::steady_timer timer;
  std::function<void()> expired;
  SteadyTime deadline = kNever;
  SteadyTime rings_at = kNever;
};

Watchdog::Watchdog(const boost::asio::any_io_executor& executor, std::function<void()> expired)
    : state_(std::make_shared<State>(executor, std::move(expired))) {}

Watchdog::~Watchdog() {
  state_->timer.cancel();
}

void Watchdog::set(Duration from_now) {
  state_->deadline = std::chrono::steady_clock::now() + from_now;
  if (state_->deadline < state_->rings_at) state_->arm();
}

void Watchdog::clear() {
  state_->deadline = kNever;
}

}  // namespace runnel::net
