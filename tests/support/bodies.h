// Bodies for tests: bytes that can be recognised, files of them, streams that misbehave.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "net/body.h"
#include "net/server.h"

namespace runnel::test {

// Bytes in which a piece that is lost, repeated or moved shows.
inline std::string pattern(size_t size) {
  std::string bytes(size, '\0');
  uint64_t state = 88172645463325252;
  for (auto& byte : bytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    byte = static_cast<char>(state);
  }
  return bytes;
}

// A file without a name.
inline std::shared_ptr<const UniqueFd> file_of(std::string_view bytes) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  RUNNEL_CHECK(write_all(fd.get(), as_bytes(bytes)));
  return std::make_shared<const UniqueFd>(std::move(fd));
}

// Gives its pieces one by one, then the error, if any, or the end.
class PiecesStream final : public net::BodyStream {
 public:
  explicit PiecesStream(std::vector<std::string> pieces, std::optional<Error> error = {})
      : pieces_(std::move(pieces)), error_(std::move(error)) {}

  net::awaitable<Result<size_t>> read(MutableBytes into) override {
    if (next_ == pieces_.size()) {
      if (error_) co_return std::unexpected(*error_);
      co_return size_t{0};
    }
    const auto& piece = pieces_[next_++];
    RUNNEL_CHECK(piece.size() <= into.size());
    std::ranges::copy(as_bytes(piece), into.begin());
    co_return piece.size();
  }

 private:
  const std::vector<std::string> pieces_;
  const std::optional<Error> error_;
  size_t next_ = 0;
};

// Never ends; says when it is destroyed.
class EndlessStream final : public net::BodyStream {
 public:
  explicit EndlessStream(std::function<void()> destroyed) : destroyed_(std::move(destroyed)) {}
  ~EndlessStream() override { destroyed_(); }

  net::awaitable<Result<size_t>> read(MutableBytes into) override {
    std::ranges::fill(into, std::byte{'x'});
    co_return into.size();
  }

 private:
  const std::function<void()> destroyed_;
};

// The whole body of a request, or why it did not come.
inline net::awaitable<Result<std::string>> read_all(net::RequestBody& body) {
  std::string all;
  Buffer piece(32 * 1024);
  for (;;) {
    RUNNEL_CO_TRY(const size_t got, co_await body.read(piece));
    if (got == 0) co_return all;
    all += as_text(Bytes(piece).first(got));
  }
}

}  // namespace runnel::test
