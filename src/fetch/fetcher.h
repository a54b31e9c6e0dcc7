// Reads ranges of many blobs of many registries over pooled connections: what a node's page faults,
// prefetch and background fill all go through.
//
// One thread decides what is sent next; bytes arrive on the net::Client's thread; answers go out on
// the deciding one. Reads wait in order of priority, then of arrival. Neighbours in a blob go out
// as one request and are answered one by one as their bytes arrive, so coalescing costs no latency.
// Background reads are sent when nobody waits (background_gate.h).
// Why not one connection with many ranges in flight: registries and storage behind them speak
// HTTP/1.1 well and multipart ranges badly, and parallel connections are what fills a long line.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "fetch/range_source.h"
#include "oci/digest.h"
#include "remote/gateway.h"

namespace runnel::fetch {

struct FetcherOptions {
  // Requests in flight, of every priority; then those that are not demand; then background alone.
  // The differences are what a demand read finds free however much is prefetched. Fewer than the
  // client's connections to a host (32), so that manifests and tokens need not wait for blobs.
  size_t max_in_flight = 28;
  size_t max_prefetch = 20;
  size_t max_background = 6;
  // Neighbours are joined up to this many bytes. (A single read may be larger.) Those of the
  // background less: what is in flight when somebody comes to wait is in his way.
  uint64_t max_joined_bytes = 4 << 20;
  uint64_t max_joined_background_bytes = 1 << 20;
  // A read that becomes more urgent while its request is in flight stays with it when at most this
  // many bytes come before: at 100 Mbit/s, which seven requests share, they take 150 ms, and a
  // request of its own 100.
  uint64_t max_bytes_before = 256 << 10;
  // Between attempts at one read, which end with its deadline and not with a number: a registry
  // that answers 500 at once has used up any number before one that stalls has used up two. An
  // attempt that brought bytes starts anew.
  remote::Backoff backoff{.first_delay = std::chrono::milliseconds(50),
                          .longest_delay = std::chrono::seconds(2)};
  Duration connect_timeout = std::chrono::seconds(5);
  // Somebody waits for these bytes, so a silent connection is given up sooner than remote/ does.
  Duration stall_timeout = std::chrono::seconds(10);
  // While demand waits and everything is in flight, a request that brings nothing for so long goes
  // to the back: a registry that stalls some answers must not keep those it would give, nor another
  // registry, waiting. Twice as long the second time and four times from then on, so that one that
  // is only slow is heard.
  Duration give_way = std::chrono::seconds(2);
  // How long a redirect is used again without asking the registry; one that is refused goes at
  // once.
  Duration redirect_life = std::chrono::minutes(5);
};

struct FetchStats {
  struct Counts {
    uint64_t reads = 0;      // asked for
    uint64_t joined = 0;     // of those, waited for another's bytes
    uint64_t requests = 0;   // sent
    uint64_t bytes = 0;      // received and given out
    uint64_t retries = 0;    // reads that went out once more
    uint64_t failures = 0;   // answered with an error
    uint64_t queued = 0;     // now
    uint64_t in_flight = 0;  // requests, now
  };
  std::array<Counts, kPriorities> of{};  // by Priority

  const Counts& operator[](Priority priority) const { return of[static_cast<size_t>(priority)]; }
  Counts& operator[](Priority priority) { return of[static_cast<size_t>(priority)]; }
};

class FetchLoop;

// Any thread may call any method.
class Fetcher {
 public:
  explicit Fetcher(std::shared_ptr<remote::Gateway> gateway, FetcherOptions options = {});
  // Calls shutdown(). Sources may outlive this, but must not be read any more.
  ~Fetcher();

  // The blob of that repository; `host` as in a reference. Nothing is sent before the first read,
  // and `size` is believed (a server that says otherwise fails the read). Two sources of one blob
  // share its requests.
  std::shared_ptr<RangeSource> source(std::string host, std::string repository,
                                      const oci::Digest& digest, uint64_t size);

  // Somebody waits for bytes that come past this fetcher, until what is returned goes: background
  // reads wait, those in flight are sent again later. It may outlive this.
  std::shared_ptr<void> hold_background();

  FetchStats stats() const;

  // Answers every read that waits with kCancelled, and returns when all `done`s have returned
  // (unless it is called from one). Reads that come later are answered with kCancelled too.
  void shutdown();

 private:
  std::shared_ptr<FetchLoop> loop_;
};

}  // namespace runnel::fetch
