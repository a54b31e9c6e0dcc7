// A process that this one started and that does not outlive what it was started for.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace runnel {

// Killed and reaped at the latest when this goes. One thread at a time.
class Child {
 public:
  // What is killed: the process, or all of the process group that it leads.
  enum class Reach : uint8_t { kItself, kGroup };

  Child(pid_t pid, Reach reach) : pid_(pid), reach_(reach) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }
  // Blocks until it has ended by itself; its status as waitpid(2) gives it. Once.
  int wait();
  // Kills it, if it has not ended, and what it left behind of its group. The same status. Once.
  int end();

 private:
  pid_t pid_;
  const Reach reach_;
};

}  // namespace runnel
