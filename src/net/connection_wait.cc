// Where a connection waits for its event loop.
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "net/connection.h"

namespace runnel::net {

namespace asio = boost::asio;

// As receive(), without a try at once, and not with TLS. The event loop itself reads when something
// comes: waiting for the socket and reading then would be two more system calls.
awaitable<Result<size_t>> Connection::receive_later(MutableBytes into) {
  if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
  boost::system::error_code error;
  const auto buffer = asio::buffer(into.data(), into.size());
  const size_t got =
      co_await socket_.async_receive(buffer, asio::redirect_error(asio::use_awaitable, error));
  if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
  if (error == asio::error::eof) co_return size_t{0};
  if (error) co_return std::unexpected(system_error(error.value(), "receive"));
  co_return got;
}

// To send has the stall deadline, each wait anew; to receive, the caller has set one. (With TLS
// either may wait for the other direction.)
awaitable<Result<void>> Connection::wait_for(Io::Kind want, Purpose purpose) {
  if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
  const bool write = want == Io::Kind::kWantWrite;
  const bool sends = purpose == Purpose::kSend;
  if (sends) watchdog_.set(options_.body_stall_timeout);
  boost::system::error_code error;
  co_await socket_.async_wait(write ? asio::socket_base::wait_write : asio::socket_base::wait_read,
                              asio::redirect_error(asio::use_awaitable, error));
  if (sends) watchdog_.clear();
  if (aborted_) co_return fail(Code::kUnavailable, "{}", aborted_);
  if (error) co_return std::unexpected(system_error(error.value(), "wait for the connection"));
  co_return Result<void>();
}

awaitable<void> Connection::give_way() {
  since_yield_ = 0;
  // On the coroutine's own executor: named, it would be asked twice.
  co_await asio::post(asio::use_awaitable);
}

}  // namespace runnel::net
