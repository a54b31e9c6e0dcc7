// How a coroutine waits for another thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/worker_pool.h"

namespace runnel::net {

using boost::asio::awaitable;

// Resumes the coroutine that was suspended. Call it exactly once, from any thread.
using Resume = std::function<void()>;

// Suspends the caller, calls `start` with the way back, and returns on the caller's executor after
// that was used.
awaitable<void> suspend(std::function<void(Resume)> start);

awaitable<void> sleep_for(Duration duration);

// Runs `work` (which may block: SQLite, fsync) on the pool and returns its result on the caller's
// executor. An exception of `work` comes out of the co_await. What `work` refers to must live until
// it has run: the server never drops a coroutine half-way, so locals of a handler do.
//
//   auto work = [&] { return store.find(name); };      // a name of its own: tools/check-coroutines
//   auto found = co_await on_pool(pool, std::move(work));
template <class F>
awaitable<std::invoke_result_t<F&>> on_pool(WorkerPool& pool, F work) {
  using T = std::invoke_result_t<F&>;
  static_assert(!std::is_void_v<T>, "return a Result<void>");
  struct State {
    explicit State(F w) : work(std::move(w)) {}
    void run() {
      try {
        result.emplace(work());
      } catch (...) {
        failure = std::current_exception();
      }
    }
    F work;
    std::optional<T> result;
    std::exception_ptr failure;
  };
  auto state = std::make_shared<State>(std::move(work));
  std::function<void(Resume)> start = [state, &pool](Resume resume) {
    pool.submit([state, resume = std::move(resume)] {
      state->run();
      resume();
    });
  };
  co_await suspend(std::move(start));
  if (state->failure) std::rethrow_exception(state->failure);
  co_return std::move(*state->result);
}

}  // namespace runnel::net
