#include "engine/fuse_server.h"

#include <sys/epoll.h>
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

// The server for which this thread takes requests, while it runs no task of submit().
thread_local const FuseServer* takes_for = nullptr;

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

Result<void> FuseServer::start(size_t threads, std::function<void()> alive, Handle handle,
                               const std::vector<FuseRequest>& outstanding) {
  std::vector<UniqueFd> watches(threads);
  for (auto& each : watches) {
    RUNNEL_TRY(each, watch());
  }
  handle_ = std::move(handle);
  alive_ = std::move(alive);
  for (const auto& request : outstanding) handle_(request, {});
  taking_ = threads;
  for (auto& each : watches) {
    threads_.emplace_back([this, watched = std::move(each)] { serve(watched); });
  }
  threads_.emplace_back([this] { keep_deadlines(); });
  return {};
}

void FuseServer::submit(std::function<void()> task) {
  if (takes_for != this || !leave_taking()) return pool_.submit(std::move(task));
  takes_for = nullptr;
  task();
  takes_for = this;
  ++taking_;
}

// False for the last thread that takes requests.
bool FuseServer::leave_taking() {
  size_t taking = taking_;
  while (taking > 1) {
    if (taking_.compare_exchange_weak(taking, taking - 1)) return true;
  }
  return false;
}

// Becomes readable with a request, for one of those that wait, and with the stop, for all.
Result<UniqueFd> FuseServer::watch() const {
  UniqueFd watch(::epoll_create1(EPOLL_CLOEXEC));
  if (!watch) return fail_errno("epoll_create1");
  const auto add = [&](int fd, uint32_t events) {
    epoll_event event{.events = events, .data = {.fd = fd}};
    return ::epoll_ctl(watch.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  };
  if (!add(connection_->fd(), EPOLLIN | EPOLLEXCLUSIVE) || !add(stop_.get(), EPOLLIN)) {
    return fail_errno("watch the FUSE connection");
  }
  return watch;
}

// One of the threads that take requests from the kernel.
void FuseServer::serve(const UniqueFd& watched) {
  takes_for = this;
  Buffer beyond_slot(kRequestBuffer);
  Buffer scratch(kMaxRead);
  for (;;) {
    epoll_event event;
    const int count = ::epoll_wait(watched.get(), &event, 1, -1);
    if (count < 0 && errno != EINTR) return;
    if (count < 1) continue;
    if (event.data.fd == stop_.get()) return;
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
