// A coroutine in a test that is none.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <exception>
#include <optional>
#include <utility>

namespace runnel::test {

// Runs it on an event loop of its own, on this thread, and returns its result or throws its
// exception.
template <class T>
T run_coroutine(boost::asio::awaitable<T> coroutine) {
  boost::asio::io_context loop;
  std::exception_ptr failure;
  std::optional<T> result;
  auto keep = [&](std::exception_ptr thrown, T value) {
    failure = thrown;
    result.emplace(std::move(value));
  };
  boost::asio::co_spawn(loop, std::move(coroutine), std::move(keep));
  loop.run();
  if (failure) std::rethrow_exception(failure);
  return *std::move(result);
}

}  // namespace runnel::test
