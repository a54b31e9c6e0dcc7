// Errors as values.
//
// Whatever the network, the disk, the kernel, a peer or a person can cause comes back as a Result;
// what only a bug of ours can cause aborts (RUNNEL_CHECK). The codes are few because a caller can
// do only a few different things about a failure; the message carries the what, where and what
// next, and gains context on its way up. An error is logged once, where it is handled.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace runnel {

enum class Code : uint8_t {
  kInvalid,      // the input breaks its own format or rules; trying again cannot help
  kNotFound,     // no such blob, tag, snapshot, file
  kExists,       // it is there already
  kDenied,       // the caller may not do this
  kConflict,     // not in this state: something still uses it, or it changed meanwhile
  kUnsupported,  // well-formed, but this program or kernel cannot do it
  kUnavailable,  // a peer or disk failed or was too slow; the same call may work later
  kExhausted,    // out of disk space, memory, descriptors or a configured limit
  kCancelled,    // the caller gave up, or the process is stopping
};

// "invalid", "not found", … for messages and logs.
const char* to_string(Code code);

struct Error {
  // A constructor, so that an Error may be a temporary in a co_await statement
  // (docs/decisions/0001-compiler.md).
  Error(Code c, std::string m) : code(c), message(std::move(m)) {}

  // The same error with "prefix: " before its message.
  Error in(const std::string& prefix) const { return {code, prefix + ": " + message}; }

  bool operator==(const Error&) const = default;

  Code code;
  std::string message;
};

template <class T>
using Result = std::expected<T, Error>;

// return fail(Code::kInvalid, "tar: entry {} has no name", index);
template <class... Args>
std::unexpected<Error> fail(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error(code, fmt::format(format, std::forward<Args>(args)...)));
}

// The error of a system call that just failed: `what` and the text of `error_number`, with the code
// that fits it (ENOENT is kNotFound, ENOSPC is kExhausted, …).
Error system_error(int error_number, std::string what);

// return fail_errno("open {}", path);   -- reads errno
template <class... Args>
std::unexpected<Error> fail_errno(fmt::format_string<Args...> format, Args&&... args) {
  const int saved = errno;
  return std::unexpected(system_error(saved, fmt::format(format, std::forward<Args>(args)...)));
}

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace runnel

#define RUNNEL_CONCAT_(a, b) a##b
#define RUNNEL_CONCAT(a, b) RUNNEL_CONCAT_(a, b)

// RUNNEL_TRY(auto header, read_header(block));  -- binds the value, or returns the error.
#define RUNNEL_TRY(declaration, expression) \
  RUNNEL_TRY_(RUNNEL_CONCAT(result_, __LINE__), return, declaration, expression)
#define RUNNEL_TRY_(name, leave, declaration, expression)    \
  auto name = (expression);                                  \
  if (!name) leave std::unexpected(std::move(name).error()); \
  declaration = *std::move(name)

// RUNNEL_DO(write_all(fd, bytes));  -- goes on, or returns the error.
#define RUNNEL_DO(expression)                              \
  do {                                                     \
    if (auto outcome_ = (expression); !outcome_)           \
      return std::unexpected(std::move(outcome_).error()); \
  } while (false)

// The same in a coroutine that returns awaitable<Result<T>>. `expression` must be a plain name or
// call, without a lambda or a braced temporary (docs/decisions/0001-compiler.md).
#define RUNNEL_CO_TRY(declaration, expression) \
  RUNNEL_TRY_(RUNNEL_CONCAT(result_, __LINE__), co_return, declaration, expression)
#define RUNNEL_CO_DO(expression)                              \
  do {                                                        \
    if (auto outcome_ = (expression); !outcome_)              \
      co_return std::unexpected(std::move(outcome_).error()); \
  } while (false)

// Aborts when a condition that only a bug can break is false.
#define RUNNEL_CHECK(condition) \
  ((condition) ? void(0) : ::runnel::check_failed(#condition, __FILE__, __LINE__))
