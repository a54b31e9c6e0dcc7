// What wrong passwords may cost. Each check of a person's password takes a bcrypt, on threads that
// are few: who guesses, at one name or at ever new ones, is refused without one, and who knows the
// password waits behind a bounded number of others.
#pragma once

#include <expected>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "registry/rate_limiter.h"
#include "registry/reply.h"

namespace runnel::registry {

// Who counts as one: an IPv4 address as it is, of an IPv6 address the first 64 bits, for whoever
// has one has all that begin so. `address` is net::Request::peer without its port.
std::string network_of(std::string_view address);

// Any thread may call any method.
class LoginLimits {
 public:
  // Of checks that wait or run, all together, and of one network: nobody fills the queue alone.
  static constexpr size_t kMostWaiting = 256;
  static constexpr size_t kMostOfOneNetwork = kMostWaiting / 2;

  // Among those that wait, for as long as it lives, which is less than the limits.
  class Place {
   public:
    Place(Place&& other) noexcept
        : limits_(std::exchange(other.limits_, nullptr)), network_(std::move(other.network_)) {}
    Place& operator=(Place&&) = delete;
    ~Place();

   private:
    friend LoginLimits;
    Place(LoginLimits& limits, std::string network)
        : limits_(&limits), network_(std::move(network)) {}

    LoginLimits* limits_;
    std::string network_;
  };

  // How many wrong passwords a minute; 0: no limit. The clock must outlive this.
  LoginLimits(unsigned of_name, unsigned of_network, const Clock& clock)
      : of_name_(of_name, clock), of_network_(of_network, clock) {}

  // 429 after too many wrong passwords for this name from this network, or from it for any names.
  std::expected<void, Refusal> check(const std::string& user, const std::string& address);
  // 503 when too many wait.
  std::expected<Place, Refusal> wait_in_line(const std::string& address);
  // The password was wrong.
  void failed(const std::string& user, const std::string& address);

 private:
  void leave(const std::string& network);

  RateLimiter of_name_;  // by network and name
  RateLimiter of_network_;
  std::mutex mutex_;
  size_t waiting_ = 0;
  std::unordered_map<std::string, size_t> waiting_of_;  // by network
};

}  // namespace runnel::registry
