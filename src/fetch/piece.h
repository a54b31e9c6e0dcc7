// What the fetcher knows of blobs and of what was asked for. Internal to fetch/.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fetch/range_source.h"
#include "fetch/round_trips.h"
#include "oci/digest.h"
#include "remote/hosts.h"
#include "remote/secret.h"
#include "remote/token.h"

namespace runnel::fetch {

struct Piece;

// One registry. While it does not answer, or asks to be left alone, nothing is sent to it: a
// thousand reads that wait make one attempt, not a thousand.
struct Host {
  int failures = 0;  // in a row
  SteadyTime paused_until{};
  std::string last_error;
  RoundTrips round_trips;
};

// One repository of a host: what credentials are for, and so what waits for them together.
struct Lane {
  std::shared_ptr<Host> host;
  remote::Endpoint endpoint;
  std::string repository;
  remote::Scope scope;
  // Nothing is sent while a token is awaited; how many are being asked for.
  bool awaits_token = false;
  int token_requests = 0;
  bool awaits_endpoint = false;  // nor while its registry's file is read again
  int denials = 0;               // in a row: there was no token to be had
  // Ready to be sent, by order of arrival.
  std::array<std::map<uint64_t, std::shared_ptr<Piece>>, kPriorities> ready;
};

struct Blob {
  std::shared_ptr<Lane> lane;
  oci::Digest digest;
  uint64_t size = 0;
  // Where the registry sent us last; empty for nowhere.
  std::string redirect;
  SteadyTime redirect_until{};
  std::atomic<SteadyTime> heard_at{};  // when bytes of it came last
  // Everything that waits or is in flight, by offset and length.
  std::map<std::pair<uint64_t, uint64_t>, std::shared_ptr<Piece>> pieces;

  std::string url() const {
    return fmt::format("{}/v2/{}/blobs/{}", lane->endpoint.url, lane->repository, digest);
  }
  // "registry.example/a/b: blob sha256:…".
  std::string name() const {
    return fmt::format("{}/{}: blob {}", lane->endpoint.host, lane->repository, digest);
  }
};

struct Waiter {
  SteadyTime deadline;
  RangeSource::Done done;
};

// One range that somebody reads; reads of the same range wait for the same piece.
struct Piece {
  enum class State : uint8_t { kReady, kDelayed, kInFlight, kGone };

  std::shared_ptr<Blob> blob;
  uint64_t offset = 0;
  uint64_t length = 0;
  Priority priority = Priority::kBackground;
  uint64_t order = 0;
  State state = State::kGone;
  SteadyTime not_before{};  // with kDelayed
  uint64_t group = 0;       // with kInFlight
  std::vector<Waiter> waiters;

  // What has come, from the front. While it is in flight only the request's sink touches it.
  Buffer data;
  size_t data_before = 0;  // when it was sent last

  int failures = 0;
  int gave_way = 0;  // times that it was taken back for others
  int redirects = 0;
  int refused_redirects = 0;
  int unsupported = 0;  // in a row
  bool renewed = false;
  bool denied = false;
  std::string last_error;

  uint64_t next() const { return offset + data.size(); }
  uint64_t end() const { return offset + length; }
  std::string name() const {
    return fmt::format("{}, bytes {} to {}", blob->name(), offset, end() - 1);
  }
};

using Pieces = std::vector<std::shared_ptr<Piece>>;

}  // namespace runnel::fetch
