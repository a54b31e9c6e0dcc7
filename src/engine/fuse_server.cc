#include "engine/fuse_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace runnel::engine {

namespace {

constexpr size_t kRequestBuffer = 64 * 1024;  // no request of a read-only file system is larger
constexpr size_t kMaxRead = 1 << 20;          // what open_fuse_mount allows
constexpr auto kDeadlineTick = std::chrono::milliseconds(100);
// Workers may die young again and again, each before a tick: with this one, most have ended what
// was overdue and shown a beat, so that the holder need not refuse everything for want of a worker.
constexpr auto kFirstDeadlineTick = std::chrono::milliseconds(10);
constexpr size_t kPoolThreads = 4;  // that may wait for a disk

}  // namespace

FuseServer::FuseServer(std::shared_ptr<FuseConnection> connection, const Clock& clock)
    : connection_(std::move(connection)),
      clock_(clock),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      pool_(kPoolThreads) {}

FuseServer::~FuseServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  const uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  connection_->stop();
  for (auto& thread : threads_) thread.join();
}

void FuseServer::start(size_t threads, std::function<void()> alive, Handle handle,
                       const std::vector<FuseRequest>& outstanding) {
  handle_ = std::move(handle);
  alive_ = std::move(alive);
  for (const auto& request : outstanding) handle_(request, {});
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { serve(); });
  threads_.emplace_back([this] { keep_deadlines(); });
}

// One of the threads that take requests from the kernel.
void FuseServer::serve() {
  Buffer beyond_slot(kRequestBuffer);
  Buffer scratch(kMaxRead);
  pollfd waiting[] = {{connection_->fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  for (;;) {
    if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return;
    if ((waiting[1].revents & POLLIN) != 0) return;
    FuseRequest request;
    const auto taken = connection_->take(request, beyond_slot);
    if (!taken) return;
    if (*taken) handle_(request, scratch);
  }
}

void FuseServer::keep_deadlines() {
  std::unique_lock lock(mutex_);
  auto tick = kFirstDeadlineTick;
  while (
      !changed_.wait_for(lock, std::exchange(tick, kDeadlineTick), [this] { return stopping_; })) {
    lock.unlock();
    connection_->expire(clock_.now());
    alive_();
    lock.lock();
  }
}

}  // namespace runnel::engine
