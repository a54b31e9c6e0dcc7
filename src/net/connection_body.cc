#include "net/connection_body.h"

#include <algorithm>
#include <array>

namespace runnel::net {

Connection::Body::Body(Connection& connection)
    : connection_(connection),
      chunked_(connection.parser_.chunked()),
      length_(connection.parser_.content_length()),
      remaining_(length_),
      finished_(!chunked_ && length_ == 0),
      continue_due_(connection.parser_.expects_continue() && !finished_) {}

std::optional<uint64_t> Connection::Body::content_length() const {
  if (chunked_) return std::nullopt;
  return length_;
}

awaitable<Result<size_t>> Connection::Body::read(MutableBytes into) {
  RUNNEL_CHECK(!into.empty());
  if (failed_) co_return fail(Code::kUnavailable, "the request's body has failed before");
  if (finished_) co_return size_t{0};
  auto got = co_await attempt(into);
  connection_.watchdog_.clear();
  failed_ = !got;
  // A handler that keeps up with its peer would never let others have their turn.
  connection_.since_yield_ += got.value_or(0);
  if (connection_.since_yield_ >= kTurnBytes) co_await connection_.give_way();
  co_return got;
}

awaitable<Result<size_t>> Connection::Body::attempt(MutableBytes into) {
  if (continue_due_) RUNNEL_CO_DO(co_await send_continue());
  connection_.watchdog_.set(connection_.options_.body_stall_timeout);
  if (chunked_) co_return co_await read_chunked(into);
  co_return co_await read_plain(into);
}

awaitable<Result<void>> Connection::Body::send_continue() {
  continue_due_ = false;
  // Who sends without waiting needs no answer.
  if (!connection_.input().empty()) co_return Result<void>();
  std::array<Bytes, 1> pieces = {as_bytes("HTTP/1.1 100 Continue\r\n\r\n")};
  co_return co_await connection_.send_all(pieces);
}

awaitable<Result<size_t>> Connection::Body::read_plain(MutableBytes into) {
  const size_t wanted = std::min<uint64_t>(into.size(), remaining_);
  size_t got = std::min(wanted, connection_.input().size());
  if (got > 0) {
    std::ranges::copy(connection_.input().first(got), into.begin());
    connection_.consume(got);
  } else {
    RUNNEL_CO_TRY(got, co_await connection_.receive(into.first(wanted)));
    if (got == 0)
      co_return fail(Code::kUnavailable, "the peer closed the connection {} bytes early",
                     remaining_);
  }
  remaining_ -= got;
  finished_ = remaining_ == 0;
  co_return got;
}

awaitable<Result<size_t>> Connection::Body::read_chunked(MutableBytes into) {
  for (;;) {
    RUNNEL_CO_TRY(const auto step, connection_.parser_.feed_chunked(connection_.input(), into));
    connection_.consume(step.used);
    finished_ = step.done;
    if (step.produced > 0 || step.done) co_return step.produced;
    RUNNEL_CO_TRY(const bool more, co_await connection_.fill_input());
    if (!more)
      co_return fail(Code::kUnavailable, "the peer closed the connection in a chunked body");
  }
}

}  // namespace runnel::net
