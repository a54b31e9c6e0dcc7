#include "timeline/analysis.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "timeline/bringers.h"
#include "timeline/in_order.h"

namespace runnel::timeline {

namespace {

constexpr Us kQuiet = 2'000'000;  // as node/start_watch.cc has it
constexpr size_t kLongest = 10;
constexpr size_t kIdle = 5;
constexpr uint64_t kEnoughForRate = 256 << 10;  // less says nothing about a line

// What competes for a moment: the lowest rank, then the earliest begin.
enum Rank : uint8_t { kRead, kStep, kNodeRequest, kPreparation, kCallRank, kClientRequest };

struct Candidate {
  Us begin = 0;
  Us end = 0;
  Rank rank = kRead;
  Us since = 0;  // when the whole of which this is a part began
  Cause cause = Cause::kOutside;
  const std::string* what = nullptr;
  bool saved = false;  // by a profile
};

bool came_with_boot_blob(const Read& read) {
  return read.origin == "before" || read.origin == "hot pack";
}

Us or_now(Us end, Us now) {
  return end == kNone ? now : end;
}

struct Stretch {
  Us begin = 0;
  Us end = 0;
};

// Of the stretches in which requests of the node are waited for: the preparation, and calls.
std::vector<Stretch> united(std::vector<Stretch> stretches) {
  std::ranges::sort(stretches, {}, &Stretch::begin);
  std::vector<Stretch> out;
  for (const auto& each : stretches) {
    if (!out.empty() && each.begin <= out.back().end) {
      out.back().end = std::max(out.back().end, each.end);
    } else {
      out.push_back(each);
    }
  }
  return out;
}

// Until when somebody waits for what goes on from `begin` to `end`; nothing when nobody does.
std::optional<Us> waited_until(const std::vector<Stretch>& stretches, Us begin, Us end) {
  const auto found = std::ranges::find_if(
      stretches, [&](const Stretch& each) { return each.begin < end && begin < each.end; });
  if (found == stretches.end()) return std::nullopt;
  return std::min(end, found->end);
}

// When the start began: the first that is known of it.
std::optional<Us> begin_of(const Events& events) {
  std::optional<Us> begin;
  const auto see = [&](Us at) {
    if (at != kNone) begin = std::min(begin.value_or(at), at);
  };
  for (const auto& request : events.requests) see(request.asked);
  for (const auto& span : events.spans) see(span.begin);
  for (const auto& read : events.reads) see(read.at);
  return begin;
}

// When it was over: reads by `at`.
Us end_of(const Events& events, const std::vector<const Read*>& reads, Us begin, bool& cut) {
  Us end = begin;
  if (reads.empty()) {
    for (const auto& span : events.spans) end = std::max(end, or_now(span.end, events.now));
    for (const auto& request : events.requests)
      if (request.who != Who::kBackground && request.who != Who::kPrefetch)
        end = std::max(end, or_now(request.ended, events.now));
    return end;
  }
  end = reads.front()->at;
  for (const auto* read : reads) {
    if (read->at - end > kQuiet) return end;
    end = std::max(end, or_now(read->ready, events.now));
  }
  cut = events.now - end < kQuiet;
  return end;
}

class Analysis {
 public:
  Analysis(const Events& events, std::optional<Us> until)
      : events_(events), until_(until), bringers_(events.requests) {}

  Result<Timeline> run() {
    const auto begin = begin_of(events_);
    if (!begin)
      return fail(Code::kNotFound, "nothing is known of a start of {}{}", events_.image,
                  events_.begun_before_worker
                      ? ": it began before this worker of the node, and is lost with the last one"
                      : "");
    for (const auto& read : events_.reads)
      if (read.at != kNone) reads_.push_back(&read);
    sort_by(reads_, [](const Read* read) { return read->at; });
    line_.begin = *begin;
    line_.end = end_of(events_, reads_, *begin, line_.cut);
    if (until_) {
      line_.cut = *begin + *until_ < line_.end;
      line_.end = *begin + *until_;
    }
    gather();
    sweep();
    sum();
    longest();
    traffic();
    saving();
    notes();
    return std::move(line_);
  }

 private:
  bool inside(Us at) const { return at != kNone && at <= line_.end; }

  void offer(const std::vector<Segment>& phases, Rank rank, bool saved = false) {
    if (phases.empty()) return;
    saved_.push_back(saved);
    waiting_.push_back({.begin = phases.front().begin,
                        .end = phases.back().end,
                        .what = phases.front().what,
                        .phases = phases});
    ranks_.push_back(rank);
  }

  void gather() {
    std::vector<Stretch> prepared;
    for (const auto& span : events_.spans) {
      if (!inside(span.begin)) continue;
      const Us end = std::min(or_now(span.end, events_.now), line_.end);
      const bool step = span.kind == Span::Kind::kStep;
      if (!step) prepared.push_back({.begin = span.begin, .end = end});
      const bool call = span.kind == Span::Kind::kCall;
      const bool disk = step && span.what.ends_with("disk");
      const auto cause = call ? Cause::kCall : disk ? Cause::kDisk : Cause::kWork;
      std::vector<Segment> whole;
      if (end > span.begin)
        whole.push_back({.begin = span.begin,
                         .end = end,
                         .cause = cause,
                         .what = call ? "containerd's " + span.what : span.what});
      offer(whole, call ? kCallRank : step ? kStep : kPreparation);
    }
    prepared = united(std::move(prepared));
    for (const auto& request : events_.requests) {
      if (!inside(request.asked)) continue;
      const Us end = std::min(or_now(request.ended, events_.now), line_.end);
      const bool node = request.who == Who::kNode || request.who == Who::kToken;
      auto until = node ? waited_until(prepared, request.asked, end) : std::nullopt;
      // The front of a boot blob is waited for, not what comes behind: the mount is the last step.
      if (until && request.what == "boot blob") until = std::min(*until, last_step_before(*until));
      if (until) offer(phases_of(request, request.asked, *until), kNodeRequest);
      if (request.who == Who::kClient)
        offer(phases_of(request, request.asked, end), kClientRequest);
    }
    for (const auto* read : reads_) {
      if (!inside(read->at)) continue;
      ++line_.reads;
      Read shown = *read;
      shown.ready = std::min(or_now(read->ready, events_.now), line_.end);
      if (shown.arrived > shown.ready) shown.arrived = kNone;
      const auto phases = phases_of(shown, bringers_.of(shown));
      if (phases.empty()) continue;
      if (read->wait != "none") ++line_.reads_waited;
      offer(phases, kRead, !came_with_boot_blob(*read));
    }
  }

  // When the last step of a preparation began before `end`; `end` when there is none.
  Us last_step_before(Us end) const {
    std::optional<Us> last;
    for (const auto& span : events_.spans)
      if (span.kind == Span::Kind::kStep && span.begin < end)
        last = std::max(last.value_or(span.begin), span.begin);
    return last.value_or(end);
  }

  // Lays each moment to one candidate.
  void sweep() {
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < waiting_.size(); ++i) {
      for (const auto& phase : waiting_[i].phases)
        candidates.push_back({.begin = std::max(phase.begin, line_.begin),
                              .end = std::min(phase.end, line_.end),
                              .rank = ranks_[i],
                              .since = waiting_[i].begin,
                              .cause = phase.cause,
                              .what = &waiting_[i].what,
                              .saved = saved_[i]});
    }
    std::erase_if(candidates, [](const auto& each) { return each.begin >= each.end; });
    std::ranges::sort(candidates, {}, &Candidate::begin);
    std::vector<Us> moments{line_.begin, line_.end};
    for (const auto& each : candidates) {
      moments.push_back(each.begin);
      moments.push_back(each.end);
    }
    std::ranges::sort(moments);
    moments.erase(std::unique(moments.begin(), moments.end()), moments.end());

    const auto before = [&](size_t a, size_t b) {
      const auto& x = candidates[a];
      const auto& y = candidates[b];
      return std::tuple(x.rank, x.since, x.begin, a) < std::tuple(y.rank, y.since, y.begin, b);
    };
    std::set<size_t, decltype(before)> active(before);
    std::multimap<Us, size_t> ends;
    size_t next = 0;
    static const std::string kNobody = "containerd and the workload";
    for (size_t i = 0; i + 1 < moments.size(); ++i) {
      const Us now = moments[i];
      for (; !ends.empty() && ends.begin()->first <= now; ends.erase(ends.begin()))
        active.erase(ends.begin()->second);
      for (; next < candidates.size() && candidates[next].begin <= now; ++next) {
        active.insert(next);
        ends.emplace(candidates[next].end, next);
      }
      const auto* chosen = active.empty() ? nullptr : &candidates[*active.begin()];
      append(now, moments[i + 1], chosen == nullptr ? Cause::kOutside : chosen->cause,
             chosen == nullptr ? kNobody : *chosen->what, chosen != nullptr && chosen->saved);
    }
  }

  void append(Us begin, Us end, Cause cause, const std::string& what, bool saved) {
    if (saved && cause != Cause::kDisk && cause != Cause::kFailed)
      waited_for_chunks_ += end - begin;
    auto& path = line_.path;
    if (!path.empty() && path.back().cause == cause && path.back().what == what) {
      path.back().end = end;
    } else {
      path.push_back({.begin = begin, .end = end, .cause = cause, .what = what});
    }
  }

  void sum() {
    line_.by_cause.assign(kCauses, 0);
    for (const auto& segment : line_.path)
      line_.by_cause[static_cast<size_t>(segment.cause)] += segment.length();
    for (const auto& segment : line_.path)
      if (segment.cause == Cause::kOutside) line_.idle.push_back(segment);
    sort_by(line_.idle, [](const Segment& each) { return -each.length(); });
    if (line_.idle.size() > kIdle) line_.idle.resize(kIdle);
  }

  void longest() {
    std::vector<size_t> order;
    for (size_t i = 0; i < waiting_.size(); ++i)
      if (ranks_[i] != kPreparation && ranks_[i] != kCallRank) order.push_back(i);
    sort_by(order, [&](size_t i) { return -waiting_[i].length(); });
    for (size_t i = 0; i < std::min(order.size(), kLongest); ++i)
      line_.longest.push_back(waiting_[order[i]]);
  }

  void traffic() {
    std::map<std::string, Traffic> by_what;
    uint64_t best = 0;
    for (const auto& request : events_.requests) {
      if (!inside(request.asked)) continue;
      ++line_.requests;
      if (request.connected) ++line_.connections;
      line_.bytes += request.bytes;
      auto& entry = by_what[request.what];
      entry.what = request.what;
      ++entry.requests;
      entry.bytes += request.bytes;
      entry.time += or_now(request.ended, events_.now) - request.asked;
      const bool whole = request.first_byte != kNone && request.ended > request.first_byte;
      if (whole && request.bytes >= kEnoughForRate)
        best = std::max(best, request.bytes * 1'000'000 /
                                  static_cast<uint64_t>(request.ended - request.first_byte));
    }
    for (auto& [what, entry] : by_what) line_.traffic.push_back(std::move(entry));
    sort_by(line_.traffic, [](const Traffic& each) { return ~each.bytes; });
    if (best > 0) line_.bytes_per_second = best;
  }

  void saving() {
    Saving saving;
    for (const auto* read : reads_) {
      if (!inside(read->at) || came_with_boot_blob(*read)) continue;
      ++saving.chunks;
      saving.bytes += read->stored;
    }
    if (saving.chunks == 0) return;
    saving.waited = waited_for_chunks_;
    if (line_.bytes_per_second)
      saving.transfer = static_cast<Us>(saving.bytes * 1'000'000 / *line_.bytes_per_second);
    line_.saving = saving;
  }

  void notes() {
    if (line_.begin < events_.worker_started || events_.begun_before_worker)
      line_.notes.emplace_back(
          "the image was prepared before this worker of the node: what the "
          "last one saw is lost");
    else if (events_.worker_restarts > 0 && line_.begin - events_.worker_started < kQuiet)
      line_.notes.push_back(fmt::format(
          "the node's worker was started anew {:.1f} s before the first that is known: what the "
          "last one saw is lost",
          static_cast<double>(line_.begin - events_.worker_started) / 1e6));
    if (events_.dropped > 0)
      line_.notes.push_back(
          fmt::format("{} later events were not kept: there was no room", events_.dropped));
    if (line_.cut && !until_)
      line_.notes.emplace_back("it goes on: the last read is less than two seconds old");
    if (line_.saving && !line_.bytes_per_second)
      line_.notes.emplace_back("no request was large enough to tell how fast the line is");
  }

  const Events& events_;
  const std::optional<Us> until_;
  const Bringers bringers_;
  std::vector<const Read*> reads_;
  std::vector<Waiting> waiting_;
  std::vector<Rank> ranks_;  // of waiting_
  std::vector<bool> saved_;  // likewise
  Us waited_for_chunks_ = 0;
  Timeline line_;
};

}  // namespace

Result<Timeline> analyse(const Events& events, std::optional<Us> until) {
  return Analysis(events, until).run();
}

}  // namespace runnel::timeline
