// What clients ask of the registry, counted: its page of metrics, runnel_registry_*.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include "base/histogram.h"
#include "meta/stored.h"
#include "net/server.h"
#include "registry/collector.h"

namespace runnel::registry {

// Any thread may call any method.
class Traffic {
 public:
  // `route` is "blob", "manifest", …: see Counted.
  void add(const std::string& method, const std::string& route, int status, Duration duration);
  void add_received(uint64_t bytes) { received_ += bytes; }
  void add_sent(uint64_t bytes) { sent_ += bytes; }
  void add_push() { ++pushes_; }
  void add_pull() { ++pulls_; }
  // As it is now.
  void set_stored(const meta::Stored& stored);
  void add_expired_uploads(uint64_t count) { expired_uploads_ += count; }
  void add_collection(const Collected& collected, WallTime now);

  std::string metrics_text() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::tuple<std::string, std::string, int>, uint64_t> requests_;
  std::map<std::string, Histogram> durations_;  // by route
  Collected collected_;
  uint64_t collections_ = 0;
  WallTime last_collection_{};
  std::optional<meta::Stored> stored_;
  std::atomic<uint64_t> received_ = 0;
  std::atomic<uint64_t> sent_ = 0;
  std::atomic<uint64_t> pushes_ = 0;
  std::atomic<uint64_t> pulls_ = 0;
  std::atomic<uint64_t> expired_uploads_ = 0;
};

// Hands requests on and counts them. Both references must outlive it.
class Counted final : public net::Handler {
 public:
  Counted(net::Handler& api, Traffic& traffic) : api_(api), traffic_(traffic) {}

  net::awaitable<net::Response> handle(net::Request& request, net::RequestBody& body) override;
  std::optional<net::Response> answer_at_once(net::Request& request) override;

 private:
  void count(const net::Request& request, const net::Response& response, SteadyTime started);

  net::Handler& api_;
  Traffic& traffic_;
};

}  // namespace runnel::registry
