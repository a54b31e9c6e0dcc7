#include "fetch/fetch_loop.h"

#include <algorithm>

#include "net/transfer_report.h"

namespace runnel::fetch {

namespace {

constexpr size_t kTokenWorkers = 4;
constexpr size_t kTokenWorkersOfOneHost = 2;
// With as many known, and again with twice as many as were left then, blobs that nobody reads any
// more are forgotten.
constexpr size_t kManyBlobs = 512;

SteadyTime now_steady() {
  return std::chrono::steady_clock::now();
}

}  // namespace

FetchLoop::FetchLoop(std::shared_ptr<remote::Gateway> gateway, FetcherOptions options)
    : gateway_(std::move(gateway)), options_(options), many_blobs_(kManyBlobs) {}

void FetchLoop::start() {
  workers_ = std::make_unique<KeyedPool>(kTokenWorkers, kTokenWorkersOfOneHost);
  thread_ = std::thread([this] { run(); });
}

void FetchLoop::stop() {
  shutdown();
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    dirty_ = true;
    changed_.notify_all();
  }
  thread_.join();
  workers_.reset();
  const std::lock_guard lock(mutex_);
  // What was in flight points at its blob, and the blob at it.
  for (const auto& [id, group] : groups_)
    for (const auto& piece : group.pieces) queue_.remove(piece);
  groups_.clear();
  events_.clear();
}

std::shared_ptr<Blob> FetchLoop::blob(std::string host, std::string repository,
                                      const oci::Digest& digest, uint64_t size) {
  const std::string lane_key = host + "/" + repository;
  std::unique_lock lock(mutex_);
  remote::Endpoint endpoint;
  if (!lanes_.contains(lane_key)) {
    // Reads containerd's files, whose disk may keep it waiting: nobody waits with it.
    lock.unlock();
    endpoint = gateway_->hosts.endpoint(host);
    lock.lock();
  }
  auto& known = blobs_[fmt::format("{}@{}:{}", lane_key, digest, size)];
  if (auto found = known.lock()) return found;

  auto& host_slot = hosts_[host];
  if (!host_slot) host_slot = std::make_shared<Host>();
  auto& lane = lanes_[lane_key];
  if (!lane) {
    lane = std::make_shared<Lane>();
    lane->host = host_slot;
    lane->endpoint = std::move(endpoint);
    lane->scope = remote::Scope::pull(repository);
    lane->repository = std::move(repository);
    queue_.add_lane(lane);
  }
  auto made = std::make_shared<Blob>();
  made->lane = lane;
  made->digest = digest;
  made->size = size;
  known = made;
  forget_unread_blobs();
  return made;
}

void FetchLoop::forget_unread_blobs() {
  if (blobs_.size() <= many_blobs_) return;
  std::erase_if(blobs_, [](const auto& entry) { return entry.second.expired(); });
  many_blobs_ = std::max(kManyBlobs, 2 * blobs_.size());
}

void FetchLoop::read_each(const std::shared_ptr<Blob>& blob, std::vector<RangeSource::Part> parts,
                          Priority priority, SteadyTime deadline) {
  const std::lock_guard lock(mutex_);
  RUNNEL_CHECK(!stopped_);
  dirty_ = true;
  changed_.notify_all();
  for (auto& part : parts) read(blob, std::move(part), priority, deadline);
}

void FetchLoop::read(const std::shared_ptr<Blob>& blob, RangeSource::Part part, Priority priority,
                     SteadyTime deadline) {
  const uint64_t offset = part.offset;
  const uint64_t length = part.length;
  ++stats_[priority].reads;
  if (shut_down_) {
    calls_.push_back({std::move(part.done), fail(Code::kCancelled, "{}: stopping", blob->name())});
    return;
  }
  if (offset > blob->size || length > blob->size - offset) {
    calls_.push_back({std::move(part.done), fail(Code::kInvalid, "{}: it has no {} bytes at {}",
                                                 blob->name(), length, offset)});
    return;
  }
  if (length == 0) {
    calls_.push_back({std::move(part.done), Buffer()});
    return;
  }
  std::vector<Waiter> others;
  const auto known = blob->pieces.find({offset, length});
  if (known != blob->pieces.end() && is_far_behind(*known->second, priority)) {
    others = std::exchange(known->second->waiters, {});
    blob->pieces.erase(known);
  }
  bool joined = false;
  const auto piece =
      queue_.add(blob, offset, length, priority, {deadline, std::move(part.done)}, joined);
  deadlines_.add(deadline, piece);
  for (auto& other : others) {
    deadlines_.add(other.deadline, piece);
    piece->waiters.push_back(std::move(other));
  }
  if (!joined) return;
  ++stats_[priority].joined;
  if (piece->state == Piece::State::kInFlight) raise_group(piece->group, priority);
}

// Whether a more urgent read would wait for much else that its request brings first. It is asked
// for again then, by itself; what comes with the request is for nobody.
bool FetchLoop::is_far_behind(const Piece& piece, Priority priority) const {
  if (piece.state != Piece::State::kInFlight || priority >= piece.priority) return false;
  const auto group = groups_.find(piece.group);
  if (group == groups_.end()) return false;
  uint64_t before = 0;
  for (const auto& each : group->second.pieces) {
    if (each.get() == &piece) break;
    if (each->state == Piece::State::kInFlight) before += each->length;
  }
  return before > options_.max_bytes_before;
}

void FetchLoop::raise_group(uint64_t id, Priority priority) {
  const auto group = groups_.find(id);
  if (group == groups_.end() || group->second.priority <= priority) return;
  --stats_[group->second.priority].in_flight;
  group->second.priority = priority;
  ++stats_[priority].in_flight;
}

Duration FetchLoop::round_trip(const Blob& blob) const {
  const std::lock_guard lock(mutex_);
  return blob.lane->host->round_trips.least();
}

void FetchLoop::hold_background() {
  const std::lock_guard lock(mutex_);
  ++holds_;
  takes_background_ = false;
  for (auto& [id, group] : groups_) {
    if (group.priority == Priority::kBackground) abandon_group(group);
  }
  dirty_ = true;
  changed_.notify_all();
}

void FetchLoop::release_background() {
  const std::lock_guard lock(mutex_);
  --holds_;
  dirty_ = true;
  changed_.notify_all();
}

FetchStats FetchLoop::stats() const {
  const std::lock_guard lock(mutex_);
  FetchStats out = stats_;
  for (size_t i = 0; i < kPriorities; ++i)
    out.of[i].queued = queue_.count(static_cast<Priority>(i));
  return out;
}

void FetchLoop::shutdown() {
  std::unique_lock lock(mutex_);
  shut_down_ = true;
  for (const auto& piece : queue_.all())
    fail_piece(piece, Error(Code::kCancelled, piece->name() + ": stopping"));
  for (auto& [id, group] : groups_) {
    for (const auto& piece : group.pieces)
      answer(piece, fail(Code::kCancelled, "{}: stopping", piece->name()));
    abandon_group(group);
  }
  dirty_ = true;
  changed_.notify_all();
  if (std::this_thread::get_id() == thread_.get_id()) return;
  quiet_.wait(lock, [this] { return calls_.empty() && !calling_; });
}

void FetchLoop::run() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    dirty_ = false;
    handle_events();
    const SteadyTime now = now_steady();
    expire(now);
    queue_.wake(now);
    if (!shut_down_) send(now);
    takes_background_ = gate_.allowed(options_.max_background, now) > 0;
    if (!calls_.empty()) {
      run_calls(lock);
      continue;
    }
    quiet_.notify_all();
    const auto woken = [this] { return dirty_ || stopped_; };
    const SteadyTime next = next_wake(now);
    if (next == SteadyTime::max()) {
      changed_.wait(lock, woken);
    } else {
      changed_.wait_until(lock, next, woken);
    }
  }
}

void FetchLoop::run_calls(std::unique_lock<std::mutex>& lock) {
  std::vector<Call> calls = std::exchange(calls_, {});
  calling_ = true;
  lock.unlock();
  for (Call& call : calls) call.done(std::move(call.outcome));
  calls.clear();  // what they hold may be destroyed by this, and call us
  lock.lock();
  calling_ = false;
}

SteadyTime FetchLoop::next_wake(SteadyTime now) const {
  return std::min({deadlines_.next(), queue_.next_change(now), room_at_, gate_.next_change(now)});
}

void FetchLoop::post(Event event) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  events_.push_back(std::move(event));
  dirty_ = true;
  changed_.notify_all();
}

void FetchLoop::handle_events() {
  for (; !events_.empty(); events_.pop_front()) {
    Event& event = events_.front();
    if (auto* arrived = std::get_if<Arrived>(&event)) deliver(arrived->piece);
    if (auto* end = std::get_if<Ended>(&event)) ended(*end);
    if (auto* token = std::get_if<Token>(&event)) token_came(*token, now_steady());
    if (auto* found = std::get_if<LookedUp>(&event)) endpoint_came(*found, now_steady());
  }
}

void FetchLoop::expire(SteadyTime now) {
  for (const auto& piece : deadlines_.take_due(now)) expire_piece(piece, now);
}

void FetchLoop::expire_piece(const std::shared_ptr<Piece>& piece, SteadyTime now) {
  const auto late = std::ranges::partition(
      piece->waiters, [&](const Waiter& waiter) { return waiter.deadline > now; });
  if (late.empty()) return;
  const Host& host = *piece->blob->lane->host;
  std::string why = piece->last_error.empty() ? host.last_error : piece->last_error;
  if (why.empty()) why = "the registry is too slow";
  const Error error(Code::kUnavailable,
                    fmt::format("{}: not read in time: {}", piece->name(), why));
  for (Waiter& waiter : late) {
    ++counts(*piece).failures;
    calls_.push_back({std::move(waiter.done), std::unexpected(error)});
  }
  piece->waiters.erase(late.begin(), late.end());
  if (!piece->waiters.empty()) return;

  if (piece->state != Piece::State::kInFlight) {
    queue_.remove(piece);
    return;
  }
  const auto group = groups_.find(piece->group);
  if (group == groups_.end()) return;
  const bool wanted = std::ranges::any_of(group->second.pieces,
                                          [](const auto& one) { return !one->waiters.empty(); });
  if (!wanted) abandon_group(group->second);
}

void FetchLoop::abandon_group(Group& group) {
  if (group.cancelled) return;
  group.cancelled = true;
  gateway_->client.cancel(group.transfer);
}

bool FetchLoop::somebody_waits() const {
  return holds_ > 0 ||
         stats_[Priority::kDemand].in_flight + stats_[Priority::kPrefetch].in_flight > 0;
}

bool FetchLoop::has_slot(Priority priority, SteadyTime now) const {
  const uint64_t background = stats_[Priority::kBackground].in_flight;
  const uint64_t others = background + stats_[Priority::kPrefetch].in_flight;
  if (others + stats_[Priority::kDemand].in_flight >= options_.max_in_flight) return false;
  if (priority != Priority::kDemand && others >= options_.max_prefetch) return false;
  return priority != Priority::kBackground ||
         background < gate_.allowed(options_.max_background, now);
}

void FetchLoop::send(SteadyTime now) {
  for (size_t i = 0; i < kPriorities; ++i) {
    const auto priority = static_cast<Priority>(i);
    const bool background = priority == Priority::kBackground;
    gate_.note(somebody_waits(), now);
    while (has_slot(priority, now)) {
      Pieces pieces = queue_.take(
          priority, now,
          background ? options_.max_joined_background_bytes : options_.max_joined_bytes);
      if (pieces.empty()) break;
      launch(std::move(pieces), priority, now);
    }
  }
  make_room(now);
}

SteadyTime FetchLoop::gives_way_at(const Group& group) const {
  int times = 0;
  for (const auto& piece : group.pieces) times = std::max(times, piece->gave_way);
  return group.sink->heard_at() + options_.give_way * (1 << std::min(times, 2));
}

// For demand that finds everything in flight. One at a time: what comes next may need no more.
void FetchLoop::make_room(SteadyTime now) {
  room_at_ = SteadyTime::max();
  if (has_slot(Priority::kDemand, now) || !queue_.has_ready(Priority::kDemand, now)) return;
  Group* first = nullptr;
  for (auto& [id, group] : groups_) {
    if (group.cancelled) {  // its slot is about to be free, and the loop is woken then
      room_at_ = SteadyTime::max();
      return;
    }
    const auto at = gives_way_at(group);
    if (at >= room_at_) continue;
    room_at_ = at;
    first = &group;
  }
  if (first == nullptr || room_at_ > now) return;
  room_at_ = SteadyTime::max();
  first->gives_way = true;
  abandon_group(*first);
}

void FetchLoop::launch(Pieces pieces, Priority priority, SteadyTime now) {
  Blob& blob = *pieces.front()->blob;
  if (blob.lane->endpoint.refused) {
    for (const auto& piece : pieces) queue_.put_back(piece);
    return look_up_endpoint(blob.lane);
  }
  Group group;
  group.priority = priority;
  // One that was just got is used, however short its life.
  group.redirected =
      !blob.redirect.empty() && (now < blob.redirect_until || pieces.front()->redirects > 0);
  group.url = group.redirected ? blob.redirect : blob.url();
  if (!group.redirected) {
    auto known = gateway_->authorizer.known(blob.lane->endpoint.host, blob.lane->scope);
    if (known.needs_work && blob.lane->token_requests == 0) ask_for_token(blob.lane);
    if (known.needs_work && known.header.empty()) {
      blob.lane->awaits_token = true;
      for (const auto& piece : pieces) queue_.put_back(piece);
      return;
    }
    group.sent = std::move(known.header);
  }
  const uint64_t id = next_group_++;
  const auto self = shared_from_this();
  for (const auto& piece : pieces) piece->group = id;
  group.pieces = pieces;
  group.sink = std::make_shared<GroupSink>(
      std::move(pieces), [self](std::shared_ptr<Piece> piece) { self->post(Arrived{piece}); });
  const net::TransferScope scope(
      fmt::format("{}/{}", blob.lane->endpoint.host, blob.lane->repository), to_string(priority));
  // The client calls back from its own thread, and waits for our lock there.
  group.transfer = gateway_->client.start(request_for(group), group.sink,
                                          [self, id](Result<net::ResponseHead> head) {
                                            self->post(Ended{.group = id, .head = std::move(head)});
                                          });
  ++stats_[priority].requests;
  ++stats_[priority].in_flight;
  groups_.emplace(id, std::move(group));
}

net::ClientRequest FetchLoop::request_for(const Group& group) const {
  net::ClientRequest request(group.url);
  request.headers.set("Range", group.sink->range());
  const auto& endpoint = group.pieces.front()->blob->lane->endpoint;
  request.tls = group.redirected ? endpoint.tls_elsewhere : endpoint.tls;
  if (!group.redirected) request.origin_headers = endpoint.headers;
  if (!group.sent.empty()) request.headers.set("Authorization", group.sent.reveal());
  request.connect_timeout = options_.connect_timeout;
  request.stall_timeout = options_.stall_timeout;
  request.max_redirects = 0;  // looked at and kept in fetch_outcome.cc
  return request;
}

void FetchLoop::answer(const std::shared_ptr<Piece>& piece, const Result<Buffer>& outcome) {
  if (!outcome) counts(*piece).failures += piece->waiters.size();
  for (Waiter& waiter : piece->waiters) calls_.push_back({std::move(waiter.done), outcome});
  piece->waiters.clear();
}

void FetchLoop::deliver(const std::shared_ptr<Piece>& piece) {
  queue_.remove(piece);
  counts(*piece).bytes += piece->length;
  if (piece->waiters.empty()) return;
  // The last gets the bytes themselves, the others a copy.
  Waiter last = std::move(piece->waiters.back());
  piece->waiters.pop_back();
  if (!piece->waiters.empty()) answer(piece, piece->data);
  calls_.push_back({std::move(last.done), std::move(piece->data)});
}

void FetchLoop::fail_piece(const std::shared_ptr<Piece>& piece, const Error& error) {
  queue_.remove(piece);
  answer(piece, std::unexpected(error));
}

}  // namespace runnel::fetch
