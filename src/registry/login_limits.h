// What wrong passwords may cost. Each check of a person's password takes a bcrypt, on threads that
// are few: who guesses, at one name or at ever new ones, is refused without one, and who knows the
// password waits behind a bounded number of others.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/shares.h"
#include "registry/rate_limiter.h"
#include "registry/reply.h"

namespace runnel::registry {

// Who counts as one: an IPv4 address as it is, of an IPv6 address the first 64 bits, for whoever
// has one has all that begin so. `address` is net::Request::peer without its port.
std::string network_of(std::string_view address);

// What stands for a name from there: short, for 20,000 of these are kept, and whoever guesses may
// say names of any length.
std::string name_at(const std::string& user, const std::string& address);

// Any thread may call any method.
class LoginLimits {
 public:
  // Of checks that wait or run, all together, and of one network: nobody fills the queue alone.
  static constexpr size_t kMostWaiting = 256;
  static constexpr size_t kMostOfOneNetwork = kMostWaiting / 2;

  // How many wrong passwords a minute; 0: no limit. The clock must outlive this.
  LoginLimits(unsigned of_name, unsigned of_network, const Clock& clock)
      : of_name_(of_name, clock), of_network_(of_network, clock) {}

  // 429 after too many wrong passwords for this name from this network, or from it for any names.
  std::expected<void, Refusal> check(const std::string& user, const std::string& address);
  // A place among those that wait; 503 when too many do.
  std::expected<Shares::Place, Refusal> wait_in_line(const std::string& address);
  // The password was wrong.
  void failed(const std::string& user, const std::string& address);

 private:
  RateLimiter of_name_;  // by network and name
  RateLimiter of_network_;
  Shares waiting_{kMostOfOneNetwork, kMostWaiting};
};

}  // namespace runnel::registry
