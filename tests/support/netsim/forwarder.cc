#include "support/netsim/forwarder.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace runnel::netsim {

namespace {

constexpr size_t kTurn = 16 << 10;
// What an epoll event is about; any other number is a connection's address, of which the lowest bit
// says which of its sockets.
constexpr uint64_t kStop = 0;
constexpr uint64_t kListener = 1;
constexpr size_t kMaxQueued = 8 << 20;  // of a pipe whose sink does not read

SteadyTime now_steady() {
  return std::chrono::steady_clock::now();
}

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

timespec until(SteadyTime next, SteadyTime now) {
  if (next <= now) return {};
  const auto left = std::chrono::nanoseconds(next - now).count();
  return {.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
}

void send_at_once(int fd) {
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

}  // namespace

Forwarder::Forwarder(const Options& options, Counters& counters, RequestCounter::Seen request)
    : options_(options),
      counters_(&counters),
      request_(std::move(request)),
      links_{Link(options.up_rate, options.delay), Link(options.down_rate, options.delay)} {}

Result<Forwarder> Forwarder::create(const Options& options, Counters& counters,
                                    RequestCounter::Seen request) {
  Forwarder made(options, counters, std::move(request));
  RUNNEL_DO(made.listen());
  return made;
}

Result<void> Forwarder::listen() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!epoll_ || !listener_) return fail_errno("socket");
  const int one = 1;
  ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address = loopback(options_.listen);
  socklen_t size = sizeof address;
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_.get(), 512) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return fail_errno("listen on 127.0.0.1:{}", options_.listen);
  }
  port_ = ntohs(address.sin_port);
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kListener}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event);
  return {};
}

Result<void> Forwarder::run(int stop) {
  epoll_event stopping{.events = EPOLLIN, .data = {.u64 = kStop}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop, &stopping);
  for (;;) {
    const SteadyTime now = now_steady();
    for (const Direction direction : {kUp, kDown}) {
      take_turns(direction, now);
      for (auto& connection : connections_) deliver(connection, direction, now);
    }
    std::erase_if(connections_, [](const Connection& connection) {
      return connection.dead || (connection.pipes[kUp].shut && connection.pipes[kDown].shut);
    });

    const SteadyTime next = next_event(now);
    const timespec wait = until(next, now);
    epoll_event events[64];
    const int count = ::epoll_pwait2(epoll_.get(), events, 64,
                                     next == SteadyTime::max() ? nullptr : &wait, nullptr);
    if (count < 0 && errno != EINTR) return fail_errno("epoll_pwait2");
    const SteadyTime woken = now_steady();
    for (int i = 0; i < count; ++i) {
      const uint64_t data = events[i].data.u64;
      if (data == kStop) return {};
      if (data == kListener) {
        accept_all(woken);
      } else {
        note(*reinterpret_cast<Connection*>(data & ~uint64_t{1}), data & 1, events[i].events,
             woken);
      }
    }
  }
}

void Forwarder::accept_all(SteadyTime now) {
  for (;;) {
    UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client) return;
    UniqueFd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(options_.target);
    if (::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      continue;  // the client sees its connection closed
    }
    ++counters_->connections;
    auto& made = connections_.emplace_back(Connection{
        .fds = {std::move(client), std::move(server)},
        .pipes = {},
        .usable = now + 2 * options_.delay,
        .requests = RequestCounter([this](std::string_view line, std::string_view range) {
          ++counters_->requests;
          request_(line, range);
        })});
    for (uint32_t side = 0; side < 2; ++side) {
      send_at_once(made.fds[side].get());
      epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                        .data = {.u64 = reinterpret_cast<uint64_t>(&made) | side}};
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, made.fds[side].get(), &event);
    }
  }
}

void Forwarder::note(Connection& connection, uint32_t side, uint32_t events, SteadyTime now) {
  Pipe& from = connection.pipes[side];      // its source is this socket
  Pipe& into = connection.pipes[1 - side];  // its sink is
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 && !from.ready) {
    from.ready = true;
    from.ready_since = now;
  }
  if ((events & EPOLLOUT) != 0) into.blocked = false;
}

bool Forwarder::may_send(const Connection& connection, Direction direction, SteadyTime now) const {
  const Pipe& pipe = connection.pipes[direction];
  return pipe.ready && !pipe.ended && !connection.dead && pipe.queued < kMaxQueued &&
         connection.usable <= now;
}

// Everything that the line has time for until now.
void Forwarder::take_turns(Direction direction, SteadyTime now) {
  std::vector<Connection*> waiting;
  for (auto& connection : connections_) {
    if (may_send(connection, direction, now)) waiting.push_back(&connection);
  }
  while (!waiting.empty() && links_[direction].free_at() <= now) {
    const size_t at = turn_[direction]++ % waiting.size();
    if (take(*waiting[at], direction) && may_send(*waiting[at], direction, now)) continue;
    waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(at));
  }
}

// One turn of a connection. False when it has nothing more.
bool Forwarder::take(Connection& connection, Direction direction) {
  Pipe& pipe = connection.pipes[direction];
  Packet packet;
  packet.bytes.resize(kTurn);
  const ssize_t got =
      ::recv(connection.fds[direction].get(), packet.bytes.data(), kTurn, MSG_DONTWAIT);
  if (got <= 0) {
    const bool later = got < 0 && (errno == EAGAIN || errno == EINTR);
    pipe.ready = false;
    pipe.ended = !later;
    return false;
  }
  packet.bytes.resize(static_cast<size_t>(got));
  const SteadyTime ready = std::max(pipe.ready_since, connection.usable);
  packet.due = links_[direction].send(packet.bytes.size(), ready);
  pipe.queued += packet.bytes.size();
  (direction == kUp ? counters_->bytes_up : counters_->bytes_down) += packet.bytes.size();
  if (direction == kUp) connection.requests.feed(packet.bytes);
  pipe.packets.push_back(std::move(packet));
  return true;
}

void Forwarder::deliver(Connection& connection, Direction direction, SteadyTime now) {
  Pipe& pipe = connection.pipes[direction];
  const int sink = connection.fds[1 - direction].get();
  while (!pipe.packets.empty() && !pipe.blocked && pipe.packets.front().due <= now) {
    Packet& packet = pipe.packets.front();
    const ssize_t sent = ::send(sink, packet.bytes.data() + packet.sent,
                                packet.bytes.size() - packet.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      pipe.blocked = errno == EAGAIN;
      connection.dead = connection.dead || (errno != EAGAIN && errno != EINTR);
      if (errno == EINTR) continue;
      return;
    }
    packet.sent += static_cast<size_t>(sent);
    pipe.queued -= static_cast<size_t>(sent);
    if (packet.sent == packet.bytes.size()) pipe.packets.pop_front();
  }
  if (pipe.ended && pipe.packets.empty() && !pipe.shut) {
    ::shutdown(sink, SHUT_WR);
    pipe.shut = true;
  }
}

SteadyTime Forwarder::next_event(SteadyTime now) const {
  SteadyTime next = SteadyTime::max();
  for (const auto& connection : connections_) {
    for (const Direction direction : {kUp, kDown}) {
      const Pipe& pipe = connection.pipes[direction];
      if (!pipe.packets.empty() && !pipe.blocked) next = std::min(next, pipe.packets.front().due);
      if (may_send(connection, direction, std::max(now, connection.usable))) {
        next = std::min(next, std::max(links_[direction].free_at(), connection.usable));
      }
    }
  }
  return next;
}

}  // namespace runnel::netsim
