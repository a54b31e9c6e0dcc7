#include "cache/fault.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <deque>
#include <mutex>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

namespace runnel::cache {

namespace {

constexpr uint64_t kMaxText = 4096;
constexpr std::string_view kPoints[] = {
    "request-read", "mid-fetch",
    "arrived",      "before-write",
    "write",        "before-sync",
    "fdatasync",    "between-sync-and-bitmap",
    "bits",         "between-bitmap-and-sync",
};
constexpr std::string_view kCanFail[] = {"write", "fdatasync", "bits"};

struct ErrorName {
  std::string_view name;
  int error;
};
constexpr ErrorName kErrors[] = {
    {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EROFS", EROFS}, {"EMFILE", EMFILE},
};

using Hook = std::function<int(std::string_view)>;

// Not destroyed: threads may pass points until the process is gone.
struct State {
  std::once_flag environment_read;
  std::atomic<bool> asked = true;  // false: nothing is set, and the environment was looked at
  Hook hook;
};
State& state() {
  static State& instance = *new State;
  return instance;
}

Result<unsigned> parse_count(std::string_view text) {
  unsigned count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count == 0) {
    return fail(Code::kInvalid, "\"{}\" is no count", text);
  }
  return count;
}

Result<Fault> parse_fault(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return fail(Code::kInvalid, "\"{}\" has no action", text);
  Fault fault{.point = std::string(text.substr(0, colon))};
  auto action = text.substr(colon + 1);
  if (const auto second = action.find(':'); second != std::string_view::npos) {
    RUNNEL_TRY(fault.from, parse_count(action.substr(second + 1)));
    action = action.substr(0, second);
  }
  if (std::ranges::find(kPoints, fault.point) == std::end(kPoints)) {
    return fail(Code::kInvalid, "there is no point \"{}\"", fault.point);
  }
  if (action == "kill") return fault;
  const auto* error = std::ranges::find(kErrors, action, &ErrorName::name);
  if (error == std::end(kErrors)) return fail(Code::kInvalid, "there is no action \"{}\"", action);
  if (std::ranges::find(kCanFail, fault.point) == std::end(kCanFail)) {
    return fail(Code::kInvalid, "no system call at {} can fail", fault.point);
  }
  fault.error = error->error;
  return fault;
}

// Counts the passes of one point.
struct Armed {
  explicit Armed(Fault what) : fault(std::move(what)) {}

  int pass() {
    const unsigned now = ++passed;
    if (fault.error != 0) return now >= fault.from ? fault.error : 0;
    if (now == fault.from) ::kill(::getpid(), SIGKILL);
    return 0;
  }

  const Fault fault;
  std::atomic<unsigned> passed = 0;
};

Hook hook_of(const std::vector<Fault>& faults) {
  auto armed = std::make_shared<std::deque<Armed>>();
  for (const auto& each : faults) armed->emplace_back(each);
  return [armed](std::string_view point) {
    for (auto& each : *armed) {
      if (each.fault.point != point) continue;
      if (const int error = each.pass()) return error;
    }
    return 0;
  };
}

// What RUNNEL_FAULT says, or the file that it names; no file says nothing.
Result<std::string> text_of_environment() {
  const char* value = std::getenv("RUNNEL_FAULT");
  std::string text = value == nullptr ? "" : value;
  if (!text.starts_with('@')) return text;
  auto content = read_file(text.substr(1), kMaxText);
  if (!content && content.error().code == Code::kNotFound) return "";
  RUNNEL_TRY(const auto bytes, std::move(content));
  text = std::string(as_text(bytes));
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

Result<std::vector<Fault>> faults_of_environment() {
  RUNNEL_TRY(const auto text, text_of_environment());
  if (text.empty()) return std::vector<Fault>();
  log::warning("faults are injected: {}", text);
  return parse_faults(text);
}

void read_environment() {
  const auto faults = faults_of_environment();
  if (!faults) {
    log::error("RUNNEL_FAULT: {}; see cache/fault.h", faults.error().message);
    ::_exit(2);
  }
  if (faults->empty()) {
    state().asked.store(false, std::memory_order_release);
    return;
  }
  state().hook = hook_of(*faults);
}

}  // namespace

int fault(std::string_view point) {
  if (!state().asked.load(std::memory_order_acquire)) return 0;
  std::call_once(state().environment_read, read_environment);
  return state().hook ? state().hook(point) : 0;
}

void set_faults(std::function<int(std::string_view point)> faults) {
  std::call_once(state().environment_read, read_environment);
  state().hook = std::move(faults);
  state().asked.store(state().hook != nullptr, std::memory_order_release);
}

Result<std::vector<Fault>> parse_faults(std::string_view text) {
  std::vector<Fault> faults;
  while (true) {
    const auto comma = text.find(',');
    RUNNEL_TRY(auto fault, parse_fault(text.substr(0, comma)));
    faults.push_back(std::move(fault));
    if (comma == std::string_view::npos) return faults;
    text = text.substr(comma + 1);
  }
}

}  // namespace runnel::cache
