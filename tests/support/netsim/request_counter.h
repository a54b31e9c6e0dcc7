// Counts the HTTP/1.1 requests in what a client sends. It follows what registry clients do: heads
// of at most 64 KiB, bodies with a Content-Length. Anything else (TLS, chunked bodies) is not
// counted from there on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace runnel::netsim {

class RequestCounter {
 public:
  // The request line without its version, and the Range header's value, as they end.
  using Seen = std::function<void(std::string_view line, std::string_view range)>;

  explicit RequestCounter(Seen seen) : seen_(std::move(seen)) {}

  void feed(std::string_view bytes);

 private:
  void head_ended();

  Seen seen_;
  std::string head_;
  uint64_t body_ = 0;  // bytes of it to come
  bool lost_ = false;
};

}  // namespace runnel::netsim
