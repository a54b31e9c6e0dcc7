#include "net/server.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <vector>

#include "base/log.h"
#include "base/processors.h"
#include "net/connection.h"
#include "net/listener.h"

namespace runnel::net {

namespace asio = boost::asio;

namespace {

constexpr int kAcceptBatch = 16;
// Out of descriptors or memory: others must end before there is room again.
constexpr Duration kAcceptPause = std::chrono::milliseconds(100);
// A look at the number of connections while no more are taken.
constexpr Duration kCrowdedPause = std::chrono::milliseconds(20);

}  // namespace

class Server::Impl {
 public:
  Impl(Options options, Handler& handler, UniqueFd listener);
  ~Impl();

  uint16_t port() const { return port_; }
  void stop();

 private:
  enum class Ends { kKept, kIdle, kAll };

  // One I/O thread with its event loop. `connections` belongs to the thread.
  struct Worker {
    asio::io_context loop{1};
    asio::executor_work_guard<asio::io_context::executor_type> guard{loop.get_executor()};
    std::unordered_set<Connection*> connections;
    std::thread thread;
  };

  awaitable<void> accept_all();
  // False when there was no room for a connection.
  bool accept_batch();
  void start(Accepted accepted);
  awaitable<void> serve(Worker& worker, std::shared_ptr<Connection> connection);
  void end_connections(Ends which);
  bool wait_until_empty(Duration at_most);
  bool may_keep_alive() const { return !stopping_ && open_ < options_.max_connections; }

  const Options options_;
  const ConnectionContext context_;
  uint16_t port_;
  std::vector<std::unique_ptr<Worker>> workers_;
  asio::posix::stream_descriptor listener_;  // belongs to the first worker's thread
  size_t next_worker_ = 0;
  bool out_of_room_ = false;  // and said so
  std::atomic<bool> stopping_ = false;
  std::atomic<size_t> open_ = 0;  // changed under the mutex
  std::mutex mutex_;
  std::condition_variable ended_;
};

namespace {

// Two event loops on one processor would wait for each other.
auto make_workers(auto& workers, unsigned count) -> asio::io_context& {
  using Worker = typename std::remove_reference_t<decltype(workers)>::value_type::element_type;
  if (count == 0) count = usable_processors();
  for (unsigned i = 0; i < count; ++i) workers.push_back(std::make_unique<Worker>());
  return workers.front()->loop;
}

}  // namespace

Server::Impl::Impl(Options options, Handler& handler, UniqueFd listener)
    : options_(std::move(options)),
      context_{.options = &options_,
               .handler = &handler,
               .may_keep_alive = [this] { return may_keep_alive(); },
               .stopping = [this] { return stopping_.load(); }},
      port_(local_port(listener.get())),
      listener_(make_workers(workers_, options_.threads), listener.release()) {
  asio::co_spawn(workers_.front()->loop, accept_all(), asio::detached);
  for (auto& worker : workers_) worker->thread = std::thread([&] { worker->loop.run(); });
}

Server::Impl::~Impl() {
  stop();
  {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return open_ == 0; });
  }
  for (auto& worker : workers_) worker->guard.reset();
  for (auto& worker : workers_) worker->thread.join();
  if (options_.address.starts_with("unix:")) ::unlink(options_.address.c_str() + 5);
}

void Server::Impl::stop() {
  if (!stopping_.exchange(true)) {
    asio::post(workers_.front()->loop, [this] {
      boost::system::error_code ignored;
      (void)listener_.close(ignored);
    });
  }
  end_connections(Ends::kIdle);
  if (wait_until_empty(options_.stop_grace)) return;
  end_connections(Ends::kAll);
  if (wait_until_empty(options_.stop_grace)) return;
  log::warning("server on port {} is stopped, but {} requests still wait for something", port_,
               open_.load());
}

void Server::Impl::end_connections(Ends which) {
  const auto ends = [which](const Connection& connection) {
    return which == Ends::kAll || (which == Ends::kIdle ? connection.idle() : connection.kept());
  };
  for (auto& worker : workers_)
    asio::post(worker->loop, [ends, target = worker.get()] {
      for (auto* connection : target->connections)
        if (ends(*connection)) connection->abort("the server needs the connection's place");
    });
}

bool Server::Impl::wait_until_empty(Duration at_most) {
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, at_most, [this] { return open_ == 0; });
}

awaitable<void> Server::Impl::accept_all() {
  asio::steady_timer pause(listener_.get_executor());
  while (!stopping_) {
    boost::system::error_code error;
    if (open_ >= options_.max_connections) {
      end_connections(Ends::kKept);
      pause.expires_after(kCrowdedPause);
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
      continue;
    }
    co_await listener_.async_wait(asio::posix::stream_descriptor::wait_read,
                                  asio::redirect_error(asio::use_awaitable, error));
    if (stopping_) co_return;
    if (error || !accept_batch()) {
      pause.expires_after(kAcceptPause);
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
  }
}

bool Server::Impl::accept_batch() {
  for (int i = 0; i < kAcceptBatch && open_ < options_.max_connections; ++i) {
    auto accepted = accept_one(listener_.native_handle());
    switch (accepted.error) {
      case 0: break;
      case EAGAIN: return true;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        if (!std::exchange(out_of_room_, true))
          log::warning("port {} takes no new connections for now: {}", port_,
                       system_error(accepted.error, "accept").message);
        return false;
      default: continue;  // that one connection failed before it was taken
    }
    out_of_room_ = false;
    start(std::move(accepted));
  }
  return true;
}

void Server::Impl::start(Accepted accepted) {
  auto& worker = *workers_[next_worker_++ % workers_.size()];
  std::shared_ptr<Connection> connection;
  try {
    connection = std::make_shared<Connection>(
        worker.loop.get_executor(), std::move(accepted.socket), std::move(accepted.peer), context_);
  } catch (const std::exception& failure) {
    log::error("port {}: a connection was dropped: {}", port_, failure.what());
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    ++open_;
  }
  asio::co_spawn(worker.loop, serve(worker, std::move(connection)), asio::detached);
}

awaitable<void> Server::Impl::serve(Worker& worker, std::shared_ptr<Connection> connection) {
  worker.connections.insert(connection.get());
  if (stopping_) connection->abort("the server is stopping");
  co_await connection->run();
  worker.connections.erase(connection.get());
  connection.reset();
  const std::lock_guard lock(mutex_);
  --open_;
  ended_.notify_all();
}

Result<std::unique_ptr<Server>> Server::listen(Options options, Handler& handler) {
  // A peer that goes away is an error of the call, not the end of the process: sendfile(2) has no
  // flag for that.
  std::signal(SIGPIPE, SIG_IGN);
  RUNNEL_TRY(UniqueFd listener, open_listener(options.address, options.port));
  auto impl = std::make_unique<Impl>(std::move(options), handler, std::move(listener));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

uint16_t Server::port() const {
  return impl_->port();
}
void Server::stop() {
  impl_->stop();
}

}  // namespace runnel::net
