// The deadline of one connection. Setting it is one store: the timer behind it is only moved when
// it would ring too late, and looks again when it rings too early (a connection sets its deadline
// several times for every request, and almost never reaches it).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "base/clock.h"

namespace runnel::net {

// Bound to one event loop: call only from its thread.
class Watchdog {
 public:
  // Calls `expired`, once for each deadline that passes.
  Watchdog(const boost::asio::any_io_executor& executor, std::function<void()> expired);
  ~Watchdog();

  void set(Duration from_now);
  void clear();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace runnel::net
