// How often each call of containerd came, how it ended, and how long it took.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/histogram.h"

namespace runnel::snapshot {

// Hears of every call as it comes; called on the calls' threads, must not block.
class CallObserver {
 public:
  virtual ~CallObserver() = default;
  // `name` is the snapshot that it is about, empty for none. The result names the call.
  virtual uint64_t call_begun(const char* call, const std::string& name) = 0;
  virtual void call_ended(uint64_t number, const char* code) = 0;
};

// Any thread may call any method.
class CallCounts {
 public:
  // `call` and `code` are of small, fixed sets: "Prepare", "already exists".
  void add(const std::string& call, const std::string& code, Duration duration);

  struct Snapshot {
    std::map<std::pair<std::string, std::string>, uint64_t> counts;  // by call and code
    std::map<std::string, Histogram::Snapshot> durations;            // by call
  };
  Snapshot snapshot() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, uint64_t> counts_;
  std::map<std::string, Histogram> durations_;
};

}  // namespace runnel::snapshot
