#include "base/child.h"

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>

namespace runnel {

Child::~Child() {
  if (pid_ > 0) end();
}

int Child::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status;
}

int Child::end() {
  ::kill(reach_ == Reach::kGroup ? -pid_ : pid_, SIGKILL);
  return wait();
}

}  // namespace runnel
