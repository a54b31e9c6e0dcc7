#include "fetch/read_through.h"

#include <algorithm>
#include <deque>
#include <future>
#include <memory>

namespace runnel::fetch {

namespace {

using Answer = std::future<Result<Buffer>>;

class Reading {
 public:
  Reading(RangeSource& source, const Clock& clock, const ReadThrough& options)
      : source_(source),
        clock_(clock),
        options_(options),
        next_(options.from),
        end_(std::min(options.to, source.size())) {}
  ~Reading() {
    for (auto& answer : under_way_) answer.wait();
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

  Result<void> run(const std::function<Result<void>(Bytes)>& consume) {
    start_reads();
    while (!under_way_.empty()) {
      const auto bytes = under_way_.front().get();
      under_way_.pop_front();
      if (!bytes) return std::unexpected(bytes.error());
      start_reads();
      RUNNEL_DO(consume(*bytes));
    }
    return {};
  }

 private:
  void start_reads() {
    while (under_way_.size() < options_.ahead && next_ < end_) {
      const uint64_t length = std::min(options_.piece, end_ - next_);
      auto promise = std::make_shared<std::promise<Result<Buffer>>>();
      under_way_.push_back(promise->get_future());
      source_.read(next_, length, options_.priority, clock_.now() + options_.piece_timeout,
                   [promise](Result<Buffer> bytes) { promise->set_value(std::move(bytes)); });
      next_ += length;
    }
  }

  RangeSource& source_;
  const Clock& clock_;
  const ReadThrough& options_;
  uint64_t next_;
  const uint64_t end_;
  std::deque<Answer> under_way_;
};

}  // namespace

Result<void> read_through(RangeSource& source, const Clock& clock, const ReadThrough& options,
                          const std::function<Result<void>(Bytes)>& consume) {
  return Reading(source, clock, options).run(consume);
}

}  // namespace runnel::fetch
