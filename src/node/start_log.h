// What the starts of images take, noted as it happens for `runnel node why`: requests to
// registries, steps of a preparation, calls of containerd. What reads waited for is noted by the
// layers themselves (cache/touches.h).
//
// Bounded: the latest kMaxStarts repositories, the first kMaxRequests and kMaxSteps events of a
// start in each (a start begins anew when its image is prepared; of what no preparation is known,
// the latest), the latest kMaxCalls calls. In
// memory only: a worker that dies takes what it noted with it. Nothing here is on the way of a
// read; an event costs one lock and no system call.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "net/transfer_report.h"
#include "snapshot/call_counts.h"
#include "timeline/events.h"

namespace runnel::node {

// Microseconds as timeline/ has them; kNone for a time that has not come.
timeline::Us microseconds(SteadyTime time);

// Any thread may call any method.
class StartLog final : public net::TransferObserver, public snapshot::CallObserver {
 public:
  static constexpr size_t kMaxStarts = 16;
  static constexpr size_t kMaxRequests = 4096;
  static constexpr size_t kMaxSteps = 256;
  static constexpr size_t kMaxCalls = 2048;

  // `clock` must outlive this.
  explicit StartLog(const Clock& clock) : clock_(clock), worker_started_(clock.now()) {}

  void transfer(const net::TransferReport& report) override;
  uint64_t call_begun(const char* call, const std::string& name) override;
  void call_ended(uint64_t number, const char* code) override;

  // The node asks about an image of `repository` (HOST/NAME) that may be prepared next. Of several
  // calls in a row the first counts.
  void expect(const std::string& repository);
  // An image of it is prepared from now on: what was noted of an earlier one is forgotten, but for
  // the last few seconds, in which the client has resolved it.
  void begin(const std::string& repository);

  // A step of the preparation, as long as the object lives. A `log` of null notes nothing.
  class Step {
   public:
    Step(StartLog* log, std::string repository, timeline::Span::Kind kind, const char* what);
    ~Step();
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    StartLog* const log_;
    const std::string repository_;
    uint64_t number_ = 0;
  };

  struct Start {
    std::vector<net::TransferReport> requests;
    std::vector<timeline::Span> steps;
    uint64_t dropped = 0;
  };
  // `authority` is where the repository's host is reached: what the mirror asks for is known by it.
  Start start(const std::string& repository, std::string_view authority) const;
  // Calls whose name has one of these in it.
  std::vector<timeline::Span> calls(const std::vector<std::string>& names) const;

  SteadyTime worker_started() const { return worker_started_; }

 private:
  struct Noted {
    uint64_t number = 0;
    timeline::Span span;
  };
  struct Record {
    SteadyTime used{};
    SteadyTime expected{};  // zero: nothing is, or it has begun
    SteadyTime since{};     // of the latest start: nothing before it is of interest
    std::map<uint64_t, net::TransferReport> requests;  // by number
    std::vector<Noted> steps;
    uint64_t dropped = 0;
  };

  Record& record_locked(const std::string& repository);
  uint64_t step_begun(const std::string& repository, timeline::Span::Kind kind, const char* what);
  void step_ended(const std::string& repository, uint64_t number);

  const Clock& clock_;
  const SteadyTime worker_started_;

  mutable std::mutex mutex_;
  uint64_t last_number_ = 0;
  std::map<std::string, Record> records_;
  std::deque<Noted> calls_;
};

}  // namespace runnel::node
