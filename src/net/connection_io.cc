// How a connection sends and receives: every attempt is made at once, and only what would block
// waits.
#include <algorithm>
#include <array>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"
#include "net/connection.h"

namespace runnel::net {

namespace {

constexpr size_t kStreamPiece = 64 * 1024;
// A file's bytes that share a packet with the head. More of them, and the head would only push the
// last ones into a small packet of their own, for which the receiver wakes once more.
constexpr uint64_t kWithHead = 32 * 1024;

// The Date header's value, made once a second.
const std::string& current_date() {
  thread_local WallTime made;
  thread_local std::string date;
  const WallTime now = SystemClock().wall();
  if (date.empty() || std::chrono::floor<std::chrono::seconds>(now) != made) {
    made = std::chrono::floor<std::chrono::seconds>(now);
    date = http_date(now);
  }
  return date;
}

}  // namespace

awaitable<Result<void>> Connection::send(Response& response, const ResponsePlan& plan) {
  const std::string head = response_head(response, plan, traits_, current_date());
  const bool with_body = plan.framing != Framing::kNone;
  const auto* text = std::get_if<std::string>(&response.body);
  const auto* range = std::get_if<FileRange>(&response.body);
  const bool has_text = with_body && text;
  const bool has_range = with_body && range && range->length > 0;

  // Most answers go at once, which needs no further coroutine.
  std::array<Bytes, 2> pieces = {as_bytes(head), has_text ? as_bytes(*text) : Bytes()};
  const bool more = has_range && range->length <= kWithHead;
  std::span<Bytes> left = pieces;
  if (!aborted_) send_some(left, more);
  if (!left.empty()) RUNNEL_CO_DO(co_await send_all(left, more));
  if (has_range) {
    const uint64_t sent = aborted_ ? 0 : send_some(*range, 0).bytes;
    if (sent < range->length) co_return co_await send_range(*range, sent);
    co_return Result<void>();
  }
  if (auto* stream = std::get_if<std::unique_ptr<BodyStream>>(&response.body);
      with_body && stream && *stream)
    co_return co_await send_stream(**stream, plan);
  co_return Result<void>();
}

// What of the range behind its first `sent` bytes can be sent now.
Io Connection::send_some(const FileRange& range, uint64_t sent) {
  const size_t wanted = std::min<uint64_t>(range.length - sent, kTurnBytes);
  const Io io = stream_.send_file_some(range.file->get(), range.offset + sent, wanted);
  since_yield_ += io.bytes;
  return io;
}

awaitable<Result<void>> Connection::send_range(const FileRange& range, uint64_t sent) {
  while (sent < range.length) {
    if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
    const Io io = send_some(range, sent);
    if (io.kind == Io::Kind::kDone) {
      sent += io.bytes;
      if (since_yield_ >= kTurnBytes) co_await give_way();
    } else if (io.kind == Io::Kind::kEnd) {
      log::error("a response was cut: its file ends {} bytes early", range.length - sent);
      co_return fail(Code::kInvalid, "file shorter than the range to be sent");
    } else if (io.kind == Io::Kind::kFailed) {
      if (io.error != EPIPE && io.error != ECONNRESET)
        log::error("a response was cut: {}", system_error(io.error, "sendfile").message);
      co_return std::unexpected(system_error(io.error, "sendfile"));
    } else {
      RUNNEL_CO_DO(co_await wait_for(io.kind, Purpose::kSend));
    }
  }
  co_return Result<void>();
}

awaitable<Result<void>> Connection::send_stream(BodyStream& stream, const ResponsePlan& plan) {
  Buffer piece(kStreamPiece);
  uint64_t sent = 0;
  for (;;) {
    const bool complete = plan.content_length && sent == *plan.content_length;
    const auto got = complete ? Result<size_t>(0) : co_await stream.read(piece);
    if (!got) {
      log::warning("a response was cut after {} bytes: {}", sent, got.error().message);
      co_return std::unexpected(got.error());
    }
    if (*got == 0) break;
    sent += *got;
    if (plan.content_length && sent > *plan.content_length) {
      log::error("a response was cut: its stream is longer than announced");
      co_return fail(Code::kInvalid, "stream longer than its Content-Length");
    }
    RUNNEL_CO_DO(co_await send_chunk(Bytes(piece).first(*got), plan));
  }
  if (plan.content_length && sent < *plan.content_length) {
    log::error("a response was cut: its stream ends {} bytes early", *plan.content_length - sent);
    co_return fail(Code::kInvalid, "stream shorter than its Content-Length");
  }
  if (plan.framing == Framing::kChunked) co_return co_await send_chunk(Bytes(), plan);
  co_return Result<void>();
}

// One piece of a stream; an empty one ends a chunked body.
awaitable<Result<void>> Connection::send_chunk(Bytes bytes, const ResponsePlan& plan) {
  since_yield_ += bytes.size();
  if (since_yield_ >= kTurnBytes) co_await give_way();
  const bool chunked = plan.framing == Framing::kChunked;
  const std::string size = chunked ? fmt::format("{:x}\r\n", bytes.size()) : "";
  std::array<Bytes, 3> pieces = {as_bytes(size), bytes, as_bytes(chunked ? "\r\n" : "")};
  co_return co_await send_all(pieces);
}

// What can be sent now; `pieces` are what is left then. They are at least one byte.
Io Connection::send_some(std::span<Bytes>& pieces, bool more) {
  const Io io = stream_.write_some(pieces, more);
  size_t sent = io.bytes;
  for (auto& piece : pieces) {
    const size_t part = std::min(sent, piece.size());
    piece = piece.subspan(part);
    sent -= part;
  }
  while (!pieces.empty() && pieces.front().empty()) pieces = pieces.subspan(1);
  return io;
}

awaitable<Result<void>> Connection::send_all(std::span<Bytes> pieces, bool more) {
  while (!pieces.empty() && pieces.front().empty()) pieces = pieces.subspan(1);
  while (!pieces.empty()) {
    if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
    const Io io = send_some(pieces, more);
    if (io.kind == Io::Kind::kFailed) co_return std::unexpected(system_error(io.error, "send"));
    if (io.kind != Io::Kind::kDone) RUNNEL_CO_DO(co_await wait_for(io.kind, Purpose::kSend));
  }
  co_return Result<void>();
}

// At least one byte; 0 when the peer will send no more. The caller has set the deadline.
awaitable<Result<size_t>> Connection::receive(MutableBytes into) {
  for (;;) {
    if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
    const Io io = stream_.read_some(into);
    switch (io.kind) {
      case Io::Kind::kDone: co_return io.bytes;
      case Io::Kind::kEnd: co_return size_t{0};
      case Io::Kind::kFailed: co_return std::unexpected(system_error(io.error, "receive"));
      case Io::Kind::kWantRead:
        if (stream_.tls() == nullptr) co_return co_await receive_later(into);
        [[fallthrough]];
      case Io::Kind::kWantWrite: RUNNEL_CO_DO(co_await wait_for(io.kind, Purpose::kReceive)); break;
    }
  }
}

// More bytes into input_; false when the peer will send no more. kExhausted when it is full.
awaitable<Result<bool>> Connection::fill_input() {
  if (input_begin_ == input_end_) input_begin_ = input_end_ = 0;
  if (input_end_ == input_.size() && input_begin_ > 0) {
    std::copy(input_.begin() + static_cast<ptrdiff_t>(input_begin_), input_.end(), input_.begin());
    input_end_ -= std::exchange(input_begin_, 0);
  }
  if (input_end_ == input_.size()) {
    if (input_.size() >= options_.max_header_bytes)
      co_return fail(Code::kExhausted, "a line of more than {} bytes", input_.size());
    input_.resize(std::min(input_.size() * 2, options_.max_header_bytes));
  }
  const auto room = MutableBytes(input_).subspan(input_end_);
  // Between two requests nothing is there yet, most of the time.
  auto got =
      idle_ && stream_.tls() == nullptr ? co_await receive_later(room) : co_await receive(room);
  if (!got) co_return std::unexpected(std::move(got).error());
  input_end_ += *got;
  co_return *got > 0;
}

void Connection::consume(size_t bytes) {
  input_begin_ += bytes;
}

}  // namespace runnel::net
