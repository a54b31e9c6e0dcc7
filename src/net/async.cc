#include "net/async.h"

#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace runnel::net {

namespace asio = boost::asio;

awaitable<void> suspend(std::function<void(Resume)> start) {
  const auto executor = co_await asio::this_coro::executor;
  auto initiate = [start = std::move(start), executor](auto handler) {
    // std::function must be copyable; the handler is not.
    auto waiting = std::make_shared<decltype(handler)>(std::move(handler));
    // The guard keeps the event loop running while nothing but the other thread knows of us.
    start([waiting, guard = asio::make_work_guard(executor)] {
      asio::post(guard.get_executor(), [waiting] { std::move (*waiting)(); });
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(std::move(initiate),
                                                                       asio::use_awaitable);
}

awaitable<void> sleep_for(Duration duration) {
  asio::steady_timer timer(co_await asio::this_coro::executor, duration);
  co_await timer.async_wait(asio::use_awaitable);
}

}  // namespace runnel::net
