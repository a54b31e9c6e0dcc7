// The forwarding itself: connections, their queues, and whose turn it is on the line.
//
// Both directions have a line of their own. Connections take turns of 16 KiB on it, as fair
// routers make them: a large download does not make a small answer wait for megabytes. Bytes are
// taken from a socket only when the line is free, so a sender feels the line's rate through TCP and
// nothing piles up here. One thread; every wait is an epoll wait until the next byte is due.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <list>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "support/netsim/link.h"
#include "support/netsim/request_counter.h"

namespace runnel::netsim {

// What the counters file holds; another process reads it at any moment.
struct Counters {
  uint64_t connections = 0;
  uint64_t requests = 0;
  uint64_t bytes_up = 0;    // client to server, when they leave the sender
  uint64_t bytes_down = 0;  // server to client
};

struct Options {
  uint16_t listen = 0;  // 0: one that the kernel picks
  uint16_t target = 0;
  Duration delay{};      // each way
  uint64_t up_rate = 0;  // bytes per second; 0 for no limit
  uint64_t down_rate = 0;
};

class Forwarder {
 public:
  // `counters` must outlive it. `request` hears of every HTTP request as it leaves the client.
  static Result<Forwarder> create(const Options& options, Counters& counters,
                                  RequestCounter::Seen request);
  Forwarder(Forwarder&&) = default;
  ~Forwarder() = default;

  uint16_t port() const { return port_; }
  // Until `stop` becomes readable.
  Result<void> run(int stop);

 private:
  enum Direction : uint8_t { kUp, kDown };
  struct Packet {
    SteadyTime due;
    std::string bytes;
    size_t sent = 0;
  };
  // One direction of one connection.
  struct Pipe {
    std::deque<Packet> packets;
    size_t queued = 0;
    bool ready = false;  // the source has bytes, or its end
    SteadyTime ready_since;
    bool ended = false;    // the source has
    bool blocked = false;  // the sink takes no more for now
    bool shut = false;     // the sink was told the end
  };
  struct Connection {
    std::array<UniqueFd, 2> fds;  // client, server
    std::array<Pipe, 2> pipes;    // up: from client to server
    SteadyTime usable;            // when its handshake would have ended
    RequestCounter requests;
    bool dead = false;
  };
  using Connections = std::list<Connection>;

  Forwarder(const Options& options, Counters& counters, RequestCounter::Seen request);

  Result<void> listen();
  void accept_all(SteadyTime now);
  void note(Connection& connection, uint32_t side, uint32_t events, SteadyTime now);
  bool may_send(const Connection& connection, Direction direction, SteadyTime now) const;
  void take_turns(Direction direction, SteadyTime now);
  bool take(Connection& connection, Direction direction);
  void deliver(Connection& connection, Direction direction, SteadyTime now);
  SteadyTime next_event(SteadyTime now) const;

  Options options_;
  Counters* counters_;
  RequestCounter::Seen request_;
  std::array<Link, 2> links_;
  uint16_t port_ = 0;
  UniqueFd listener_;
  UniqueFd epoll_;
  Connections connections_;
  std::array<uint64_t, 2> turn_{};  // who begins, so that nobody always does
};

}  // namespace runnel::netsim
