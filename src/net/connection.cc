#include "net/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"
#include "base/quote.h"
#include "net/connection_body.h"
#include "net/server_tls.h"

namespace runnel::net {

namespace asio = boost::asio;

namespace {

constexpr size_t kFirstInput = 4096;
// What a request counts for, besides its bytes, in a connection's turn.
constexpr size_t kRequestTurn = 64 * 1024;
// How long a peer may go on sending after the answer before the connection is cut. Closing at once
// would reset it, and a peer that still writes would lose the answer.
constexpr Duration kLingerTime = std::chrono::seconds(5);
constexpr Duration kLingerTimeAtStop = std::chrono::milliseconds(200);

// What is said to a client that speaks HTTP where TLS is spoken.
constexpr std::string_view kSpeakTls =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 48\r\n"
    "Connection: close\r\n\r\nthis port speaks TLS: ask it with https, please\n";

std::unique_ptr<TlsStream> tls_for(const ConnectionContext& context, int fd) {
  if (!context.options->tls) return nullptr;
  auto stream = context.options->tls->stream(fd);
  if (!stream) throw std::bad_alloc();
  return stream;
}

Response plain_text(int status, std::string text) {
  Headers headers;
  headers.add("Content-Type", "text/plain; charset=utf-8");
  return Response(status, std::move(headers), std::move(text) + "\n");
}

// For an exception that was just caught.
Response handler_failed(const Request& request) {
  std::string failure = "unknown exception";
  try {
    throw;
  } catch (const std::exception& exception) {
    failure = exception.what();
  } catch (...) {
  }
  log::error("{} {}: {}", request.method, quote(request.path), failure);
  return plain_text(500, "internal error");
}

}  // namespace

Connection::Connection(const asio::any_io_executor& executor, UniqueFd socket, std::string peer,
                       const ConnectionContext& context)
    : socket_(executor, asio::generic::stream_protocol(AF_UNSPEC, 0), socket.release()),
      stream_(socket_.native_handle(), tls_for(context, socket_.native_handle())),
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
  (void)socket_.close(ignored);
}

// The descriptor is closed here and its number may soon be somebody else's: whoever uses stream_
// looks at aborted_ first. (A shutdown would say an orderly end to the peer before the reset does.)
void Connection::abort(const char* why) {
  if (aborted_) return;
  aborted_ = why;
  if (!idle_) reset_at_close();
  boost::system::error_code ignored;
  (void)socket_.close(ignored);
}

// Until the connection ends. An error is the peer's or the deadline's; ours are logged where they
// are met.
awaitable<Result<void>> Connection::serve() {
  if (stream_.tls()) RUNNEL_CO_DO(co_await shake_hands());
  for (;;) {
    RUNNEL_CO_TRY(const bool asked, co_await read_head());
    if (!asked) co_return Result<void>();
    RUNNEL_CO_TRY(const bool next, co_await serve_request());
    if (!next) co_return Result<void>();
    since_yield_ += kRequestTurn;
    if (since_yield_ >= kTurnBytes) co_await give_way();
  }
}

awaitable<Result<void>> Connection::shake_hands() {
  watchdog_.set(options_.header_timeout);
  for (;;) {
    if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
    const Io io = stream_.tls()->handshake();
    if (io.kind == Io::Kind::kDone) co_return Result<void>();
    if (io.kind == Io::Kind::kEnd) co_return fail(Code::kUnavailable, "the peer went away");
    if (io.kind == Io::Kind::kFailed) {
      const auto failure = stream_.tls()->failure();
      if (stream_.tls()->met_http()) {
        stream_.leave_tls();
        const std::array<Bytes, 1> answer = {as_bytes(kSpeakTls)};
        stream_.plain().write_some(answer, false);
        co_await linger_a_while();
      }
      co_return fail(Code::kInvalid, "no TLS: {}", failure);
    }
    RUNNEL_CO_DO(co_await wait_for(io.kind, Purpose::kReceive));
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
  request.received_at = std::chrono::steady_clock::now();
  if (const auto refusal = parser_.take(request)) {
    RUNNEL_CO_DO(co_await refuse(*refusal));
    co_return false;
  }
  traits_.head = request.method == "HEAD";
  traits_.http_1_0 = parser_.http_1_0();

  Body body(*this);
  // The others are received first: what the handler finds out for one of them may serve them all,
  // and a receiver that was woken for one answer finds more of them before it sleeps.
  co_await give_way();
  auto at_once = ask_at_once(request);
  Response response = at_once ? *std::move(at_once) : co_await ask(request, body);
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

std::optional<Response> Connection::ask_at_once(Request& request) {
  try {
    return context_.handler->answer_at_once(request);
  } catch (...) {
    return handler_failed(request);
  }
}

awaitable<Response> Connection::ask(Request& request, RequestBody& body) {
  try {
    co_return co_await context_.handler->handle(request, body);
  } catch (...) {
    co_return handler_failed(request);
  }
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
  if (auto* tls = stream_.tls()) tls->say_end();
  ::shutdown(socket_.native_handle(), SHUT_WR);
  watchdog_.set(context_.stopping() ? kLingerTimeAtStop : kLingerTime);
  Buffer scratch(16 * 1024);
  for (;;) {
    const auto got = co_await receive(scratch);
    if (!got || *got == 0) co_return;
    since_yield_ += *got;
    if (since_yield_ >= kTurnBytes) co_await give_way();
  }
}

// The peer sees an error, not an end.
void Connection::reset_at_close() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  if (socket_.is_open())
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

}  // namespace runnel::net
