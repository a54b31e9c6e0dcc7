// The fetcher's thread. Internal to fetch/; the contract is in fetch/fetcher.h.
//
// Everything is guarded by one mutex and changed by few: read() adds to the queue, the
// net::Client's thread and the token workers post events, and run() does the rest: takes events in,
// ends what is over its deadline, sends what may be sent, and calls the `done`s without the lock.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "fetch/background_gate.h"
#include "fetch/deadlines.h"
#include "fetch/fetcher.h"
#include "fetch/group_sink.h"
#include "fetch/keyed_pool.h"
#include "fetch/queue.h"

namespace runnel::fetch {

class FetchLoop : public std::enable_shared_from_this<FetchLoop> {
 public:
  FetchLoop(std::shared_ptr<remote::Gateway> gateway, FetcherOptions options);

  void start();
  // shutdown(), then ends the thread. Not from a `done`.
  void stop();

  std::shared_ptr<Blob> blob(std::string host, std::string repository, const oci::Digest& digest,
                             uint64_t size);
  void read_each(const std::shared_ptr<Blob>& blob, std::vector<RangeSource::Part> parts,
                 Priority priority, SteadyTime deadline);
  Duration round_trip(const Blob& blob) const;
  void hold_background();
  void release_background();
  bool takes_background() const { return takes_background_; }
  FetchStats stats() const;
  void shutdown();

 private:
  // One request in flight.
  struct Group {
    Pieces pieces;
    Priority priority = Priority::kBackground;
    uint64_t transfer = 0;
    std::string url;
    bool redirected = false;  // sent to where the registry had sent us
    remote::Secret sent;
    std::shared_ptr<GroupSink> sink;
    bool cancelled = false;  // by us
    bool gives_way = false;  // why
  };
  struct Arrived {
    std::shared_ptr<Piece> piece;
  };
  struct Ended {
    uint64_t group;
    Result<net::ResponseHead> head;
  };
  struct Token {
    std::shared_ptr<Lane> lane;
    Result<remote::Secret> outcome;
  };
  struct LookedUp {
    std::shared_ptr<Lane> lane;
    remote::Endpoint endpoint;
  };
  using Event = std::variant<Arrived, Ended, Token, LookedUp>;
  struct Call {
    RangeSource::Done done;
    Result<Buffer> outcome;
  };

  // fetch_loop.cc. All but run() and post() with the mutex held.
  void forget_unread_blobs();
  void read(const std::shared_ptr<Blob>& blob, RangeSource::Part part, Priority priority,
            SteadyTime deadline);
  void run();
  void run_calls(std::unique_lock<std::mutex>& lock);
  void post(Event event);
  void handle_events();
  SteadyTime next_wake(SteadyTime now) const;
  void expire(SteadyTime now);
  void expire_piece(const std::shared_ptr<Piece>& piece, SteadyTime now);
  void abandon_group(Group& group);
  void send(SteadyTime now);
  bool has_slot(Priority priority, SteadyTime now) const;
  bool somebody_waits() const;
  SteadyTime gives_way_at(const Group& group) const;
  void make_room(SteadyTime now);
  void launch(Pieces pieces, Priority priority, SteadyTime now);
  net::ClientRequest request_for(const Group& group) const;
  bool is_far_behind(const Piece& piece, Priority priority) const;
  void raise_group(uint64_t id, Priority priority);
  void answer(const std::shared_ptr<Piece>& piece, const Result<Buffer>& outcome);
  void deliver(const std::shared_ptr<Piece>& piece);
  void fail_piece(const std::shared_ptr<Piece>& piece, const Error& error);

  // fetch_outcome.cc: what the end of a request means for the reads that it did not complete.
  void ended(Ended& event);
  void judge_error(Group& group, const Error& error, const Pieces& rest, SteadyTime now);
  void judge_status(Group& group, const net::ResponseHead& head, const Pieces& rest,
                    SteadyTime now);
  void redirect(Group& group, const net::ResponseHead& head, const Pieces& rest, SteadyTime now);
  void redirect_refused(Group& group, const Error& error, const Pieces& rest);
  void unauthorized(Group& group, const net::ResponseHead& head, const Error& error,
                    const Pieces& rest);
  void try_again(const std::shared_ptr<Piece>& piece, const Error& error, SteadyTime now,
                 Duration asked);
  void rest_host(Host& host, Duration asked, const std::string& why, SteadyTime now);
  void pause_host(Host& host, const std::string& why, SteadyTime now);
  void ask_for_token(const std::shared_ptr<Lane>& lane);
  void get_token(const std::shared_ptr<Lane>& lane, std::function<Result<remote::Secret>()> get);
  void token_came(Token& event, SteadyTime now);
  void look_up_endpoint(const std::shared_ptr<Lane>& lane);
  void endpoint_came(LookedUp& event, SteadyTime now);
  void post_from_worker(const std::shared_ptr<Lane>& lane, std::function<Event()> make);

  FetchStats::Counts& counts(const Piece& piece) { return stats_[piece.priority]; }

  const std::shared_ptr<remote::Gateway> gateway_;
  const FetcherOptions options_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable quiet_;  // for shutdown(): no call is left
  bool dirty_ = false;
  bool shut_down_ = false;
  bool stopped_ = false;
  bool calling_ = false;
  std::deque<Event> events_;
  std::vector<Call> calls_;
  Queue queue_;
  Deadlines deadlines_;
  std::map<uint64_t, Group> groups_;
  uint64_t next_group_ = 1;
  SteadyTime room_at_ = SteadyTime::max();  // when a request may have to give way
  std::map<std::string, std::shared_ptr<Host>> hosts_;
  std::map<std::string, std::shared_ptr<Lane>> lanes_;
  std::map<std::string, std::weak_ptr<Blob>> blobs_;
  size_t many_blobs_;  // of them, expired ones included, are too many
  FetchStats stats_;
  BackgroundGate gate_;
  size_t holds_ = 0;  // of hold_background()
  std::atomic<bool> takes_background_ = true;

  std::thread thread_;
  // Token servers and credential helpers are asked here and hosts.toml files read, where waiting
  // holds up nothing.
  // One registry's that are slow leave threads for the others.
  std::unique_ptr<KeyedPool> workers_;
};

}  // namespace runnel::fetch
