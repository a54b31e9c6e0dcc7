// SIGINT and SIGTERM as something to wait for.
#pragma once

#include <csignal>

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

  void wait() const {
    int signal = 0;
    sigwait(&signals_, &signal);
  }

 private:
  sigset_t signals_{};
};

}  // namespace runnel
