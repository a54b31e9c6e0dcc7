// The signals of a service: SIGINT and SIGTERM as something to wait for, SIGHUP for whom it means
// something, and SIGPIPE, which means nothing.
#pragma once

#include <csignal>
#include <ctime>
#include <functional>

#include "base/log.h"

namespace runnel {

// First of all: whoever reads our log may be gone, and a service goes on without. What it starts by
// exec(2) inherits that, except programs of others (remote/child_program.h).
inline void ignore_broken_pipes() {
  std::signal(SIGPIPE, SIG_IGN);
}

// Blocks the signals in this thread and all that it starts later; make it before other threads.
class StopSignal {
 public:
  // With `takes_hangup` wait() calls its function at every SIGHUP.
  explicit StopSignal(bool takes_hangup = false) {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    if (takes_hangup) sigaddset(&signals_, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }

  // Until one comes. Once a second it lets the log write its counts.
  void wait(const std::function<void()>& on_hangup = {}) const {
    constexpr timespec kTick{.tv_sec = 1, .tv_nsec = 0};
    while (true) {
      const int signal = ::sigtimedwait(&signals_, nullptr, &kTick);
      if (signal < 0)
        log::tick();
      else if (signal == SIGHUP)
        on_hangup();
      else
        return;
    }
  }

 private:
  sigset_t signals_{};
};

}  // namespace runnel
