#include "engine/fuse_connection.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"

namespace runnel::engine {

namespace {

constexpr int kNotifyResend = 7;  // FUSE_NOTIFY_RESEND, Linux 6.9
// FUSE_UNIQUE_RESEND (include/uapi/linux/fuse.h): set in the number of what is sent again.
constexpr uint64_t kUniqueResend = uint64_t{1} << 63;
// A range that did not come in time is refused at once for so long, and its reader's next ranges of
// that file get kNextAfterLate instead of the whole timeout.
constexpr auto kLateFor = std::chrono::seconds(2);
constexpr auto kNextAfterLate = std::chrono::milliseconds(500);
// A read that fails so near its deadline is late.
constexpr auto kNearDeadline = std::chrono::milliseconds(200);
// One that fails earlier (refused, no room, wrong bytes) says nothing of how long the next one
// takes. But did it take so long, the kernel's repetitions, which are here in no time, must not
// each take as long again: they are refused for a moment.
constexpr auto kLongForARepetition = std::chrono::milliseconds(400);
constexpr auto kRepetitionsFor = std::chrono::milliseconds(500);

// What a request has of a worker that gets it late, from one that stood still for all of its time.
constexpr auto kFromALaterWorker = std::chrono::seconds(1);

int64_t in_ms(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

const char* to_string(Recovery recovery) {
  switch (recovery) {
    case Recovery::kAuto: return "auto";
    case Recovery::kResend: return "resend";
    case Recovery::kSharedMemory: return "shared-memory";
  }
  return "unknown";
}

Result<Recovery> parse_recovery(std::string_view text) {
  for (const auto recovery : {Recovery::kAuto, Recovery::kResend, Recovery::kSharedMemory}) {
    if (text == to_string(recovery)) return recovery;
  }
  return fail(Code::kInvalid, "recovery \"{}\": use auto, resend or shared-memory", text);
}

std::string_view FuseRequest::name(size_t offset) const {
  if (offset >= body.size()) return {};
  const auto text = as_text(body.subspan(offset));
  return text.substr(0, text.find('\0'));
}

Result<std::shared_ptr<FuseConnection>> FuseConnection::open(FuseChannel channel,
                                                             Duration read_timeout,
                                                             const Clock& clock) {
  RUNNEL_TRY(auto slots, RequestSlots::open(std::move(channel.slots)));
  return std::shared_ptr<FuseConnection>(
      new FuseConnection(std::move(channel.fuse), std::move(slots), read_timeout, clock));
}

bool FuseConnection::ask_for_resend() const {
  fuse_out_header resend{.len = sizeof resend, .error = kNotifyResend, .unique = 0};
  return ::write(fuse_.get(), &resend, sizeof resend) == sizeof resend;
}

Result<std::vector<FuseRequest>> FuseConnection::take_over(Recovery wanted) {
  std::vector<FuseRequest> outstanding;
  const auto& held = slots_->inherited();
  remember_times(held);
  if (wanted != Recovery::kSharedMemory && ask_for_resend()) {
    recovery_ = Recovery::kResend;
    recovery_reason_ = "the kernel sends a dead worker's requests again";
    for (const uint32_t slot : held) slots_->release(slot);
    return outstanding;
  }
  if (wanted == Recovery::kResend) {
    return fail(Code::kUnsupported, "this kernel cannot send requests again (Linux 6.9 can)");
  }
  recovery_ = Recovery::kSharedMemory;
  recovery_reason_ = wanted == Recovery::kSharedMemory
                         ? "asked for; a dead worker's requests are in shared memory"
                         : "this kernel cannot send requests again (Linux 6.9 can); a dead "
                           "worker's requests are in shared memory";
  for (const uint32_t slot : held) {
    auto request = request_in(slot);
    request.ticket.taken = first_taken(request.ticket.unique);
    slots_->set_taken(slot, request.ticket.taken);
    if (request.ticket.unique == 0) {
      slots_->release(slot);
    } else {
      outstanding.push_back(request);
    }
  }
  return outstanding;
}

void FuseConnection::remember_times(const std::vector<uint32_t>& held) {
  for (const uint32_t slot : held) {
    if (const auto taken = slots_->taken(slot)) {
      earlier_[request_in(slot).ticket.unique & ~kUniqueResend] = *taken;
    }
  }
}

// A time of an earlier worker counts once, and only one that can be true.
SteadyTime FuseConnection::first_taken(uint64_t unique) {
  const auto now = clock_.now();
  const std::lock_guard lock(mutex_);
  const auto found = earlier_.extract(unique & ~kUniqueResend);
  return found.empty() ? now : std::min(found.mapped(), now);
}

FuseRequest FuseConnection::request_in(uint32_t slot) const {
  const Bytes bytes = slots_->bytes(slot);
  const auto header = load_le<fuse_in_header>(bytes.data());
  if (header.len < sizeof header) return {};
  const auto size = std::min<size_t>(header.len, bytes.size());
  return {.ticket = {.unique = header.unique, .slot = slot},
          .opcode = header.opcode,
          .node = header.nodeid,
          .uid = header.uid,
          .pid = header.pid,
          .body = bytes.first(size).subspan(sizeof header)};
}

Result<bool> FuseConnection::take(FuseRequest& request, MutableBytes scratch) {
  uint32_t slot = 0;
  if (!slots_->claim(slot)) return fail(Code::kCancelled, "stopping");
  const auto into = slots_->bytes(slot);
  const iovec parts[] = {{into.data(), into.size()}, {scratch.data(), scratch.size()}};
  const ssize_t size = ::readv(fuse_.get(), parts, 2);
  // Errors: EAGAIN, another thread took it; ENOENT, it was withdrawn; ENODEV, unmounted.
  if (size < static_cast<ssize_t>(sizeof(fuse_in_header))) {
    const bool gone = size < 0 && errno == ENODEV;
    slots_->release(slot);
    if (gone) return fail(Code::kNotFound, "unmounted");
    return false;
  }
  request = request_in(slot);
  request.ticket.taken = first_taken(request.ticket.unique);
  slots_->set_taken(slot, request.ticket.taken);
  return true;
}

void FuseConnection::send(Ticket ticket, int error, Bytes bytes) const {
  fuse_out_header header{.len = static_cast<uint32_t>(sizeof header + bytes.size()),
                         .error = error,
                         .unique = ticket.unique};
  iovec parts[] = {{&header, sizeof header}, {const_cast<std::byte*>(bytes.data()), bytes.size()}};
  // ENOENT: the reader was killed and the kernel forgot the request, or an earlier worker died
  // between its answer and giving back the slot.
  (void)!::writev(fuse_.get(), parts, bytes.empty() ? 1 : 2);
  slots_->release(ticket.slot);
}

void FuseConnection::keep(Ticket ticket, Waiting waiting) {
  waiting.since = clock_.now();
  const std::lock_guard lock(mutex_);
  waiting_[ticket.unique] = {ticket, std::move(waiting)};
}

bool FuseConnection::take_out(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  return waiting_.erase(ticket.unique) == 1;
}

std::vector<std::function<void()>> FuseConnection::take_retries(uint64_t node) {
  return take_retries_if([node](const Waiting& waiting) { return waiting.range.node == node; });
}

std::vector<std::function<void()>> FuseConnection::take_all_retries() {
  return take_retries_if([](const Waiting&) { return true; });
}

template <class Which>
std::vector<std::function<void()>> FuseConnection::take_retries_if(Which which) {
  std::vector<std::function<void()>> retries;
  const std::lock_guard lock(mutex_);
  std::erase_if(waiting_, [&](auto& each) {
    auto& waiting = each.second.second;
    if (!waiting.retry || !which(waiting)) return false;
    retries.push_back(std::move(waiting.retry));
    return true;
  });
  return retries;
}

void FuseConnection::answer(Ticket ticket, const Result<Bytes>& bytes, SteadyTime now) {
  if (!bytes && bytes.error().code == Code::kCancelled) return;
  AllSilenced silenced;
  {
    const std::lock_guard lock(mutex_);
    const auto waiting = waiting_.extract(ticket.unique);
    if (waiting.empty()) return;
    waits_.add(now - waiting.mapped().second.since);
    bytes ? counters_.bytes += bytes->size() : ++counters_.errors;
    const auto& read = waiting.mapped().second;
    if (!bytes) note_failed_locked(ticket, read, bytes.error(), now, silenced);
  }
  if (bytes) return reply_bytes(ticket, *bytes);
  reply_error(ticket, EIO);
  log_silenced(silenced);
  log::warning("a read ends with EIO: {}", bytes.error().message);
}

void FuseConnection::expire(SteadyTime now) {
  std::vector<Ticket> expired;
  AllSilenced silenced;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [unique, kept] : waiting_) shorten_locked(kept.second);
    std::erase_if(waiting_, [&](const auto& each) {
      const auto& [ticket, waiting] = each.second;
      if (waiting.deadline > now) return false;
      expired.push_back(ticket);
      if (waiting.range.length > 0) {
        waits_.add(now - waiting.since);
        note_late_locked(ticket, waiting, now, silenced);
      }
      return true;
    });
    counters_.errors += expired.size();
    counters_.expired += expired.size();
  }
  for (const auto& ticket : expired) reply_error(ticket, EIO);
  log_silenced(silenced);
}

SteadyTime FuseConnection::due(Ticket ticket) const {
  const auto due = ticket.taken + read_timeout_;
  const auto late = std::min<SteadyTime>(clock_.now() + kFromALaterWorker, due + read_timeout_ / 4);
  return std::max(due, late);
}

std::optional<SteadyTime> FuseConnection::deadline(Ticket ticket, const ReadRange& range,
                                                   uint32_t pid) {
  const auto now = clock_.now();
  const std::lock_guard lock(mutex_);
  std::erase_if(late_ranges_, [&](const auto& each) { return each.until <= now; });
  std::erase_if(late_readers_, [&](const auto& each) { return each.second <= now; });
  const auto late = std::ranges::find_if(
      late_ranges_, [&](const auto& each) { return each.range.overlaps(range); });
  if (late != late_ranges_.end()) {
    ++counters_.errors;
    // It waited for another reader's request, and goes on to its next pages now.
    if (!late->early) note_late_reader_locked(range.node, pid, late->until);
    return std::nullopt;
  }
  const bool hurries = late_readers_.contains({range.node, pid});
  const auto deadline = due(ticket);
  const auto next = std::min<Duration>(kNextAfterLate, read_timeout_ / 16);
  return hurries ? std::min(deadline, now + next) : deadline;
}

std::optional<Patience> FuseConnection::waits_for(Ticket ticket, std::vector<Supplier> suppliers) {
  const auto now = clock_.now();
  const auto whole = ticket.taken + read_timeout_;
  const std::lock_guard lock(mutex_);
  const auto found = waiting_.find(ticket.unique);
  if (found == waiting_.end()) return std::nullopt;
  auto& waiting = found->second.second;
  waiting.suppliers = std::move(suppliers);
  shorten_locked(waiting);
  const bool silent = std::ranges::any_of(
      waiting.suppliers, [&](const auto& each) { return silence_.is_silent(each.layer); });
  const bool probes = std::ranges::any_of(
      waiting.suppliers, [&](const auto& each) { return silence_.probe(each.layer, now); });
  return Patience{.reader = waiting.deadline,
                  .fetch = silent && !probes ? waiting.deadline : whole};
}

void FuseConnection::set_senders(Senders senders) {
  const std::lock_guard lock(mutex_);
  senders_ = senders;
  silence_.set_one_by_one(senders == Senders::kWaitingLoops);
}

void FuseConnection::shorten_locked(Waiting& waiting) {
  if (silence_.empty()) return;
  for (const auto& each : waiting.suppliers) {
    const auto until = silence_.until(each.layer, waiting.since, each.signs());
    if (until) waiting.deadline = std::min(waiting.deadline, *until);
  }
}

void FuseConnection::note_failed_locked(Ticket ticket, const Waiting& waiting, const Error& error,
                                        SteadyTime now, AllSilenced& silenced) {
  const auto took = now - waiting.since;
  const bool in_vain = error.code == Code::kUnavailable && took >= read_timeout_ / 2;
  if (in_vain || now + kNearDeadline >= waiting.deadline) {
    note_late_locked(ticket, waiting, now, silenced);
  } else if (took >= kLongForARepetition) {
    const auto until = now + kRepetitionsFor;
    late_ranges_.push_back({.range = waiting.range, .since = now, .until = until, .early = true});
  }
}

void FuseConnection::note_late_reader_locked(uint64_t node, uint32_t pid, SteadyTime until) {
  if (pid != 0 && senders_ != Senders::kLoops) late_readers_[{node, pid}] = until;
}

void FuseConnection::note_late_locked(Ticket ticket, const Waiting& waiting, SteadyTime now,
                                      AllSilenced& silenced) {
  const auto until = now + kLateFor;
  for (auto& each : late_ranges_) {
    const bool queued =
        senders_ == Senders::kWaitingLoops && !each.early && each.range.node == waiting.range.node;
    if (queued && now < each.since + read_timeout_) each.until = until;
  }
  late_ranges_.push_back({.range = waiting.range, .since = now, .until = until});
  note_late_reader_locked(waiting.range.node, waiting.pid, until);
  for (const auto& each : waiting.suppliers) {
    if (!silence_.failed(each.layer, ticket.taken, now, each.signs())) continue;
    silenced.push_back({.layer = each.name, .waited = now - ticket.taken});
  }
}

void FuseConnection::log_silenced(const AllSilenced& silenced) const {
  for (const auto& each : silenced) {
    log::warning(
        "a read of layer {} waited in vain for {} ms: until its chunks come, others end after {} "
        "ms",
        each.layer, in_ms(each.waited), in_ms(silence_.while_silent()));
  }
}

void FuseConnection::count_read(uint64_t bytes, bool waits) {
  const std::lock_guard lock(mutex_);
  ++counters_.reads;
  counters_.bytes += bytes;
  if (waits) ++counters_.waited;
}

ReadCounters FuseConnection::counters() const {
  const std::lock_guard lock(mutex_);
  auto counters = counters_;
  counters.waiting = waiting_.size();
  counters.waits = waits_.snapshot();
  return counters;
}

}  // namespace runnel::engine
