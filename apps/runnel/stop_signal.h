// SIGINT and SIGTERM as something to wait for.
#pragma once

#include <csignal>
#include <ctime>

#include "base/log.h"

namespace runnel {

// Blocks both signals in this thread and all that it starts later; make it before other threads.
class StopSignal {
 public:
  StopSignal() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }

  // Until one comes. Once a second it lets the log write its counts.
  void wait() const {
    constexpr timespec kTick{.tv_sec = 1, .tv_nsec = 0};
    while (::sigtimedwait(&signals_, nullptr, &kTick) < 0) log::tick();
  }

 private:
  sigset_t signals_{};
};

}  // namespace runnel
