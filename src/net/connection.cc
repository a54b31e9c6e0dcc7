#include "net/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"
#include "base/quote.h"

namespace runnel::net {

namespace asio = boost::asio;

namespace {

constexpr size_t kFirstInput = 4096;
constexpr size_t kStreamPiece = 64 * 1024;
// What one connection does before the others of its thread get their turn.
constexpr size_t kTurn = 1024 * 1024;
constexpr size_t kRequestTurn = 64 * 1024;
// How long a peer may go on sending after the answer before the connection is cut. Closing at once
// would reset it, and a peer that still writes would lose the answer.
constexpr Duration kLingerTime = std::chrono::seconds(5);
constexpr Duration kLingerTimeAtStop = std::chrono::milliseconds(200);

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

Response plain_text(int status, std::string text) {
  Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  return Response(status, std::move(headers), std::move(text) + "\n");
}

}  // namespace

// The body of the request that is being served.
class Connection::Body final : public RequestBody {
 public:
  explicit Body(Connection& connection)
      : connection_(connection),
        chunked_(connection.parser_.chunked()),
        length_(connection.parser_.content_length()),
        remaining_(length_),
        finished_(!chunked_ && length_ == 0),
        continue_due_(connection.parser_.expects_continue() && !finished_) {}

  std::optional<uint64_t> content_length() const override {
    if (chunked_) return std::nullopt;
    return length_;
  }

  awaitable<Result<size_t>> read(MutableBytes into) override {
    RUNNEL_CHECK(!into.empty());
    if (failed_) co_return fail(Code::kUnavailable, "the request's body has failed before");
    if (finished_) co_return size_t{0};
    auto got = co_await attempt(into);
    connection_.watchdog_.clear();
    failed_ = !got;
    co_return got;
  }

  bool finished() const { return finished_; }
  // The peer may never send the rest: it has not been told to.
  bool withheld() const { return continue_due_; }
  bool failed() const { return failed_; }
  bool chunked() const { return chunked_; }
  uint64_t remaining() const { return remaining_; }

 private:
  awaitable<Result<size_t>> attempt(MutableBytes into) {
    if (continue_due_) RUNNEL_CO_DO(co_await send_continue());
    connection_.watchdog_.set(connection_.options_.body_stall_timeout);
    if (chunked_) co_return co_await read_chunked(into);
    co_return co_await read_plain(into);
  }

  awaitable<Result<void>> send_continue() {
    continue_due_ = false;
    // Who sends without waiting needs no answer.
    if (!connection_.input().empty()) co_return Result<void>();
    std::array<Bytes, 1> pieces = {as_bytes("HTTP/1.1 100 Continue\r\n\r\n")};
    co_return co_await connection_.send_all(pieces);
  }

  awaitable<Result<size_t>> read_plain(MutableBytes into) {
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

  awaitable<Result<size_t>> read_chunked(MutableBytes into) {
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

  Connection& connection_;
  const bool chunked_;
  const uint64_t length_;
  uint64_t remaining_;
  bool finished_;
  bool continue_due_;
  bool failed_ = false;
};

Connection::Connection(const asio::any_io_executor& executor, UniqueFd socket, std::string peer,
                       const ConnectionContext& context)
    : socket_(executor, socket.release()),
      stream_(socket_.native_handle()),
      peer_(std::move(peer)),
      context_(context),
      options_(*context.options),
      watchdog_(executor, [this] { abort("no byte for too long"); }),
      input_(std::min(kFirstInput, options_.max_header_bytes)),
      parser_(options_.max_header_bytes) {}

awaitable<void> Connection::run() {
  const auto self = shared_from_this();
  try {
    const auto outcome = co_await serve();
    if (!outcome) log::debug("connection from {}: {}", peer_, outcome.error().message);
  } catch (const std::exception& failure) {
    reset_at_close();
    log::error("connection from {}: {}", peer_, failure.what());
  }
  watchdog_.clear();
  boost::system::error_code ignored;
  socket_.close(ignored);
}

// The descriptor is closed here and its number may soon be somebody else's: whoever uses stream_
// looks at aborted_ first. (A shutdown would say an orderly end to the peer before the reset does.)
void Connection::abort(const char* why) {
  if (aborted_) return;
  aborted_ = why;
  if (!idle_) reset_at_close();
  boost::system::error_code ignored;
  socket_.close(ignored);
}

// Until the connection ends. An error is the peer's or the deadline's; ours are logged where they
// are met.
awaitable<Result<void>> Connection::serve() {
  for (;;) {
    RUNNEL_CO_TRY(const bool asked, co_await read_head());
    if (!asked) co_return Result<void>();
    RUNNEL_CO_TRY(const bool next, co_await serve_request());
    if (!next) co_return Result<void>();
    since_yield_ += kRequestTurn;
    if (since_yield_ >= kTurn) co_await give_way();
  }
}

// False when there is no further request, or one that was refused.
awaitable<Result<bool>> Connection::read_head() {
  parser_.reset();
  traits_ = RequestTraits();
  idle_ = true;
  kept_ = served_++ > 0;
  watchdog_.set(options_.idle_timeout);
  for (;;) {
    // Some clients send an empty line after a body (RFC 9112, 2.2).
    while (!input().empty() && (input()[0] == std::byte{'\r'} || input()[0] == std::byte{'\n'}))
      consume(1);
    if (!input().empty()) break;
    RUNNEL_CO_TRY(const bool more, co_await fill_input());
    if (!more) co_return false;
  }

  idle_ = kept_ = false;
  watchdog_.set(options_.header_timeout);
  for (;;) {
    const auto step = parser_.feed_head(input());
    consume(step.used);
    if (step.refusal) RUNNEL_CO_DO(co_await refuse(*step.refusal));
    if (step.refusal) co_return false;
    if (step.done) break;
    const auto more = co_await fill_input();
    if (!more && more.error().code == Code::kExhausted) {
      const Refusal refusal(431, "the head of the request is too large for this server");
      RUNNEL_CO_DO(co_await refuse(refusal));
      co_return false;
    }
    if (!more) co_return std::unexpected(more.error());
    if (!*more) co_return false;
  }
  watchdog_.clear();
  co_return true;
}

// True when the connection is ready for another request.
awaitable<Result<bool>> Connection::serve_request() {
  Request request;
  request.peer = peer_;
  if (const auto refusal = parser_.take(request)) {
    RUNNEL_CO_DO(co_await refuse(*refusal));
    co_return false;
  }
  traits_.head = request.method == "HEAD";
  traits_.http_1_0 = parser_.http_1_0();

  Body body(*this);
  Response response = co_await ask(request, body);
  if (const auto checked = check_response(response); !checked) {
    log::error("{} {}: the response cannot be sent: {}", request.method, quote(request.path),
               checked.error().message);
    response = plain_text(500, "internal error");
  }
  traits_.keep_alive = parser_.keep_alive() && context_.may_keep_alive() && may_drain(body);
  const auto plan = plan_response(response, traits_);
  if (auto sent = co_await send(response, plan); !sent) {
    reset_at_close();
    co_return std::unexpected(sent.error().in(request.method + " " + quote(request.path)));
  }
  if (plan.keep_alive) co_return co_await drain(body);
  co_await linger_a_while();
  co_return false;
}

awaitable<Response> Connection::ask(Request& request, RequestBody& body) {
  std::string failure = "unknown exception";
  try {
    co_return co_await context_.handler->handle(request, body);
  } catch (const std::exception& exception) {
    failure = exception.what();
  } catch (...) {
  }
  log::error("{} {}: {}", request.method, quote(request.path), failure);
  co_return plain_text(500, "internal error");
}

// Answers a request that no handler sees, and ends the connection: where the next request would
// begin is not known.
awaitable<Result<void>> Connection::refuse(const Refusal& refusal) {
  log::debug("request from {} refused with {}: {}", peer_, refusal.status, refusal.reason);
  traits_.keep_alive = false;
  Response response = plain_text(refusal.status, refusal.reason);
  const auto plan = plan_response(response, traits_);
  RUNNEL_CO_DO(co_await send(response, plan));
  co_await linger_a_while();
  co_return Result<void>();
}

// Whether the rest of the body is worth reading for the sake of the connection.
bool Connection::may_drain(const Body& body) const {
  if (body.finished()) return true;
  if (body.failed() || body.withheld()) return false;
  return body.chunked() || body.remaining() <= options_.drain_limit;
}

// False when more came than may be drained.
awaitable<Result<bool>> Connection::drain(Body& body) {
  if (body.finished()) co_return true;
  Buffer scratch(16 * 1024);
  uint64_t drained = 0;
  // Each read has a deadline; a peer that drips has this one.
  const SteadyTime until = std::chrono::steady_clock::now() + options_.header_timeout;
  while (!body.finished()) {
    RUNNEL_CO_TRY(const size_t got, co_await body.read(scratch));
    drained += got;
    if (drained > options_.drain_limit || std::chrono::steady_clock::now() > until) {
      co_await linger_a_while();
      co_return false;
    }
  }
  co_return true;
}

// Says that nothing more comes, and waits a little for the peer to say the same.
awaitable<void> Connection::linger_a_while() {
  idle_ = true;
  if (aborted_) co_return;
  ::shutdown(socket_.native_handle(), SHUT_WR);
  watchdog_.set(context_.stopping() ? kLingerTimeAtStop : kLingerTime);
  Buffer scratch(16 * 1024);
  for (;;) {
    const auto got = co_await receive(scratch);
    if (!got || *got == 0) co_return;
    since_yield_ += *got;
    if (since_yield_ >= kTurn) co_await give_way();
  }
}

awaitable<Result<void>> Connection::send(Response& response, const ResponsePlan& plan) {
  const std::string head = response_head(response, plan, traits_, current_date());
  const bool with_body = plan.framing != Framing::kNone;
  const auto* text = std::get_if<std::string>(&response.body);
  const auto* range = std::get_if<FileRange>(&response.body);
  const bool has_text = with_body && text;
  const bool has_range = with_body && range && range->length > 0;

  std::array<Bytes, 2> pieces = {as_bytes(head), has_text ? as_bytes(*text) : Bytes()};
  RUNNEL_CO_DO(co_await send_all(pieces, has_range));
  if (has_range) co_return co_await send_range(*range);
  if (auto* stream = std::get_if<std::unique_ptr<BodyStream>>(&response.body);
      with_body && stream && *stream)
    co_return co_await send_stream(**stream, plan);
  co_return Result<void>();
}

awaitable<Result<void>> Connection::send_range(const FileRange& range) {
  uint64_t sent = 0;
  while (sent < range.length) {
    if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
    const size_t wanted = std::min<uint64_t>(range.length - sent, kTurn);
    const Io io = stream_.send_file_some(range.file->get(), range.offset + sent, wanted);
    if (io.kind == Io::Kind::kDone) {
      sent += io.bytes;
      since_yield_ += io.bytes;
      if (since_yield_ >= kTurn) co_await give_way();
    } else if (io.kind == Io::Kind::kEnd) {
      log::error("a response was cut: its file ends {} bytes early", range.length - sent);
      co_return fail(Code::kInvalid, "file shorter than the range to be sent");
    } else if (io.kind == Io::Kind::kFailed) {
      if (io.error != EPIPE && io.error != ECONNRESET)
        log::error("a response was cut: {}", system_error(io.error, "sendfile").message);
      co_return std::unexpected(system_error(io.error, "sendfile"));
    } else {
      RUNNEL_CO_DO(co_await wait_for(io.kind));
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
  if (since_yield_ >= kTurn) co_await give_way();
  const bool chunked = plan.framing == Framing::kChunked;
  const std::string size = chunked ? fmt::format("{:x}\r\n", bytes.size()) : "";
  std::array<Bytes, 3> pieces = {as_bytes(size), bytes, as_bytes(chunked ? "\r\n" : "")};
  co_return co_await send_all(pieces);
}

awaitable<Result<void>> Connection::send_all(std::span<Bytes> pieces, bool more) {
  for (;;) {
    while (!pieces.empty() && pieces.front().empty()) pieces = pieces.subspan(1);
    if (pieces.empty()) co_return Result<void>();
    if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
    const Io io = stream_.write_some(pieces, more);
    if (io.kind == Io::Kind::kFailed) co_return std::unexpected(system_error(io.error, "send"));
    if (io.kind != Io::Kind::kDone) RUNNEL_CO_DO(co_await wait_for(io.kind));
    size_t sent = io.bytes;
    for (auto& piece : pieces) {
      const size_t part = std::min(sent, piece.size());
      piece = piece.subspan(part);
      sent -= part;
    }
  }
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
      case Io::Kind::kWantWrite: RUNNEL_CO_DO(co_await wait_for(io.kind)); break;
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
  RUNNEL_CO_TRY(const size_t got, co_await receive(MutableBytes(input_).subspan(input_end_)));
  input_end_ += got;
  co_return got > 0;
}

void Connection::consume(size_t bytes) {
  input_begin_ += bytes;
}

// Writes have the stall deadline, each wait anew; for reads the caller has set one.
awaitable<Result<void>> Connection::wait_for(Io::Kind want) {
  if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
  const bool write = want == Io::Kind::kWantWrite;
  if (write) watchdog_.set(options_.body_stall_timeout);
  boost::system::error_code error;
  co_await socket_.async_wait(write ? asio::posix::stream_descriptor::wait_write
                                    : asio::posix::stream_descriptor::wait_read,
                              asio::redirect_error(asio::use_awaitable, error));
  if (write) watchdog_.clear();
  if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
  if (error) co_return std::unexpected(system_error(error.value(), "wait for the connection"));
  co_return Result<void>();
}

awaitable<void> Connection::give_way() {
  since_yield_ = 0;
  co_await asio::post(socket_.get_executor(), asio::use_awaitable);
}

// The peer sees an error, not an end.
void Connection::reset_at_close() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  if (socket_.is_open())
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

}  // namespace runnel::net
