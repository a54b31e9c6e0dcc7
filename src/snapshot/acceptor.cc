#include "snapshot/acceptor.h"

#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace runnel::snapshot {

namespace {

constexpr int kPauseMs = 100;  // when there is no descriptor left

}  // namespace

Acceptor::Acceptor(UniqueFd listener, grpc::Server& server)
    : listener_(std::move(listener)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      server_(server),
      thread_([this] { run(); }) {}

Acceptor::~Acceptor() {
  const uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void Acceptor::run() {
  pollfd waiting[] = {{stop_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
  for (;;) {
    if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return;
    if (waiting[0].revents != 0) return;
    const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      grpc::AddInsecureChannelFromFd(&server_, fd);  // which closes it
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      (void)::poll(waiting, 1, kPauseMs);
    }
  }
}

}  // namespace runnel::snapshot
