// A TCP connection for tests that say exactly which bytes go over it, and when.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace runnel::test {

// Blocking; every call gives up after 20 seconds, so that a test fails and does not hang.
class RawSocket {
 public:
  // Connects to 127.0.0.1.
  explicit RawSocket(uint16_t port);
  explicit RawSocket(UniqueFd connected);

  // False when the peer has gone.
  bool send(std::string_view text);
  // The peer gets an end of file.
  void finish_sending();
  // The peer gets a reset.
  void reset();

  // What comes until `mark` has come (included); shorter when the peer ends before.
  std::string read_until(std::string_view mark);
  std::string read_exactly(size_t size);
  // Everything until the peer's end.
  std::string read_to_end();
  // A response with a Content-Length, head and body.
  std::string read_response();
  // After read_to_end(): whether the end was a reset.
  bool was_reset() const { return was_reset_; }

  int fd() const { return fd_.get(); }

 private:
  // False at the peer's end.
  bool receive_more();
  std::string take(size_t size);

  UniqueFd fd_;
  std::string received_;
  bool was_reset_ = false;
};

}  // namespace runnel::test
