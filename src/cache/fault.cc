#include "cache/fault.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <utility>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

namespace runnel::cache {

namespace {

constexpr uint64_t kMaxText = 4096;
constexpr std::string_view kPoints[] = {
    "open-layer",
    "request-read",
    "mid-fetch",
    "arrived",
    "before-write",
    "write",
    "before-sync",
    "fdatasync",
    "between-sync-and-bitmap",
    "bits",
    "between-bitmap-and-sync",
    "delete-layer",
    "keep-image",
    "mount-image",
    "move-loops",
    "loops-moved",
};
constexpr std::string_view kCanFail[] = {"open-layer",   "write",      "fdatasync",   "bits",
                                         "delete-layer", "keep-image", "mount-image", "move-loops"};

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
  Armed(Fault what, const std::string& file) : fault(std::move(what)), named_in(file) {}

  int pass() {
    const unsigned now = ++passed;
    if (fault.error != 0) return now >= fault.from ? fault.error : 0;
    if (now != fault.from) return 0;
    if (!named_in.empty()) ::unlink(named_in.c_str());
    ::kill(::getpid(), SIGKILL);
    return 0;
  }

  const Fault fault;
  const std::string named_in;  // a file to remove before a kill; "" for none
  std::atomic<unsigned> passed = 0;
};

Hook hook_of(const std::vector<Fault>& faults, const std::string& file = "") {
  auto armed = std::make_shared<std::deque<Armed>>();
  for (const auto& each : faults) armed->emplace_back(each, file);
  return [armed](std::string_view point) {
    for (auto& each : *armed) {
      if (each.fault.point != point) continue;
      if (const int error = each.pass()) return error;
    }
    return 0;
  };
}

// Faults that nobody can understand must not pass for none.
std::vector<Fault> parse_or_exit(std::string_view text) {
  if (text.empty()) return {};
  log::warning("faults are injected: {}", text);
  auto faults = parse_faults(text);
  if (faults) return *std::move(faults);
  log::error("RUNNEL_FAULT: {}; see cache/fault.h", faults.error().message);
  ::_exit(2);
}

// What the file says now.
class FaultFile {
 public:
  explicit FaultFile(std::string path) : path_(std::move(path)) {}

  int pass(std::string_view point) {
    const std::scoped_lock lock(mutex_);
    if (const auto now = version(); now != seen_) {
      seen_ = now;
      hook_ = hook_of(parse_or_exit(text()), path_);
    }
    return hook_ ? hook_(point) : 0;
  }

 private:
  using Version = std::pair<ino_t, int64_t>;

  Version version() const {
    struct stat about{};
    if (::stat(path_.c_str(), &about) != 0) return {0, 0};
    return {about.st_ino, about.st_mtim.tv_sec * 1'000'000'000 + about.st_mtim.tv_nsec};
  }

  std::string text() const {
    const auto bytes = read_file(path_, kMaxText);
    if (!bytes && bytes.error().code == Code::kNotFound) return "";
    if (!bytes) {
      log::error("RUNNEL_FAULT: {}", bytes.error().message);
      ::_exit(2);
    }
    std::string text(as_text(*bytes));
    while (text.ends_with('\n')) text.pop_back();
    return text;
  }

  const std::string path_;
  std::mutex mutex_;
  Version seen_ = {0, 0};
  Hook hook_;
};

void read_environment() {
  const char* value = std::getenv("RUNNEL_FAULT");
  const std::string text = value == nullptr ? "" : value;
  if (text.empty()) {
    state().asked.store(false, std::memory_order_release);
  } else if (text.starts_with('@')) {
    const auto file = std::make_shared<FaultFile>(text.substr(1));
    state().hook = [file](std::string_view point) { return file->pass(point); };
  } else {
    state().hook = hook_of(parse_or_exit(text));
  }
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
