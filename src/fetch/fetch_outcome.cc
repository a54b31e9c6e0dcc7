// What the end of a request means for the reads that it did not complete.
//
//   connection failed, short body, wrong range, 408 425 429 5xx
//       again, later, for as long as there is time; 429 and 503 say when
//   301 302 303 307 308
//       again at once, there
//   any refusal from where a redirect led
//       again from the registry, three times
//   401
//       again with a new token, once; when there is none, again without it, once
//   403, 404, 410 and other refusals
//       an error at once

#include <algorithm>

#include "fetch/fetch_loop.h"
#include "remote/error_body.h"
#include "remote/header_values.h"
#include "remote/url.h"

namespace runnel::fetch {

namespace {

constexpr int kMaxRedirects = 5;
constexpr int kMaxRefusedRedirects = 2;
constexpr int kDenialsBelieved = 2;  // of a repository, in a row
// In a row. One may be a mistake; but no time cures a server that ignores ranges, and the blob's
// other source is there for it.
constexpr int kMaxUnsupported = 3;
// However long a registry wants to be left alone, it is asked again after so long.
constexpr Duration kLongestPause = std::chrono::seconds(30);

SteadyTime first_deadline(const Piece& piece) {
  SteadyTime first = SteadyTime::max();
  for (const Waiter& waiter : piece.waiters) first = std::min(first, waiter.deadline);
  return first;
}

// How long a read rests that a registry wants to be asked for later, or much later than the read's
// deadline: half of the time that it has left, at most. Whatever answered (a proxy, a limit on
// requests) may be gone sooner than it promised, and so a read of a minute asks after 30, 45, 52
// seconds.
Duration rest_of(Duration asked, SteadyTime deadline, SteadyTime now) {
  return std::min({asked, kLongestPause, (deadline - now) / 2});
}

bool is_redirect(const net::ResponseHead& head) {
  const int status = head.status;
  const bool any = (status >= 301 && status <= 303) || status == 307 || status == 308;
  return any && head.headers.first("Location").has_value();
}

Error refusal_of(const Blob& blob, const net::ResponseHead& head, const Buffer& body) {
  const auto type = head.headers.first("Content-Type").value_or(std::string_view());
  const std::string text = remote::error_text(body, type);
  return {remote::code_of_status(head.status),
          fmt::format("{}: {}{}{}", blob.name(), remote::status_text(head.status),
                      text.empty() ? "" : ": ", text)};
}

}  // namespace

void FetchLoop::ended(Ended& event) {
  const auto found = groups_.find(event.group);
  if (found == groups_.end()) return;
  Group group = std::move(found->second);
  groups_.erase(found);
  --stats_[group.priority].in_flight;

  Pieces rest;
  for (const auto& piece : group.pieces) {
    if (piece->state != Piece::State::kInFlight) continue;  // it was complete
    if (piece->waiters.empty()) {
      queue_.remove(piece);
    } else {
      rest.push_back(piece);
    }
  }
  Host& host = *group.pieces.front()->blob->lane->host;
  if (group.sink->has_head()) {
    host.failures = 0;
    const bool let_in = event.head && event.head->status != 401 && !group.redirected;
    if (let_in) group.pieces.front()->blob->lane->denials = 0;
    host.round_trips.add(group.sink->first_byte_after());
  }
  if (rest.empty()) return;
  const SteadyTime now = std::chrono::steady_clock::now();
  if (event.head) {
    judge_status(group, *event.head, rest, now);
  } else {
    judge_error(group, event.head.error(), rest, now);
  }
}

void FetchLoop::judge_error(Group& group, const Error& error, const Pieces& rest, SteadyTime now) {
  if (group.gives_way) {
    for (const auto& piece : rest) {
      ++piece->gave_way;
      piece->last_error = piece->blob->name() + ": nothing came, and other reads waited";
      queue_.put_back(piece, now + options_.give_way / 2);
    }
    return;
  }
  // Somebody came for it after we had given it up.
  if (group.cancelled) {
    for (const auto& piece : rest) queue_.put_back(piece);
    return;
  }
  if (error.code == Code::kInvalid || error.code == Code::kCancelled) {
    for (const auto& piece : rest) fail_piece(piece, error);
    return;
  }
  Blob& blob = *rest.front()->blob;
  const bool silent = !group.sink->has_head();
  // A redirect's host is not the registry's: it is given up instead.
  if (silent && group.redirected && blob.redirect == group.url) blob.redirect.clear();
  if (silent && !group.redirected) pause_host(*blob.lane->host, error.message, now);
  for (const auto& piece : rest) try_again(piece, error, now, Duration::zero());
}

void FetchLoop::judge_status(Group& group, const net::ResponseHead& head, const Pieces& rest,
                             SteadyTime now) {
  Blob& blob = *rest.front()->blob;
  if (is_redirect(head)) return redirect(group, head, rest, now);
  if (head.status == 200 || head.status == 206) {
    const Error error(Code::kUnavailable, blob.name() + ": the answer ended too early");
    for (const auto& piece : rest) try_again(piece, error, now, Duration::zero());
    return;
  }
  const Error error = refusal_of(blob, head, group.sink->refusal());
  const bool may_pass = error.code == Code::kUnavailable;
  if (group.redirected && !may_pass) return redirect_refused(group, error, rest);
  if (head.status == 401) return unauthorized(group, head, error, rest);
  if (!may_pass) {
    for (const auto& piece : rest) fail_piece(piece, error);
    return;
  }
  const auto asked = remote::parse_retry_after(head.headers.first("Retry-After").value_or(""),
                                               std::chrono::system_clock::now());
  if (group.redirected && blob.redirect == group.url) blob.redirect.clear();
  for (const auto& piece : rest) try_again(piece, error, now, asked.value_or(Duration::zero()));
  if (asked && !group.redirected) rest_host(*blob.lane->host, *asked, error.message, now);
}

// All that wait for it are left time for another attempt.
void FetchLoop::rest_host(Host& host, Duration asked, const std::string& why, SteadyTime now) {
  host.last_error = why;
  SteadyTime deadline = SteadyTime::max();
  for (const auto& piece : queue_.all()) {
    if (piece->blob->lane->host.get() == &host)
      deadline = std::min(deadline, first_deadline(*piece));
  }
  const Duration least = std::min(asked, options_.backoff.longest_delay);
  host.paused_until = now + std::max(least, rest_of(asked, deadline, now));
}

void FetchLoop::redirect(Group& group, const net::ResponseHead& head, const Pieces& rest,
                         SteadyTime now) {
  Blob& blob = *rest.front()->blob;
  auto target = remote::resolve_url(group.url, *head.headers.first("Location"));
  if (target) {
    if (auto allowed = remote::check_leads_on(blob.lane->endpoint, *target); !allowed)
      target = std::unexpected(allowed.error());
  }
  if (!target) {
    for (const auto& piece : rest) fail_piece(piece, target.error().in(piece->name()));
    return;
  }
  blob.redirect = *std::move(target);
  blob.redirect_until = now + options_.redirect_life;
  for (const auto& piece : rest) {
    if (++piece->redirects > kMaxRedirects) {
      fail_piece(piece, Error(Code::kInvalid, piece->name() + ": too many redirects"));
    } else {
      queue_.put_back(piece);
    }
  }
}

// A signed address has expired, most likely; the registry signs a new one.
void FetchLoop::redirect_refused(Group& group, const Error& error, const Pieces& rest) {
  Blob& blob = *rest.front()->blob;
  if (blob.redirect == group.url) blob.redirect.clear();
  for (const auto& piece : rest) {
    piece->last_error = error.message;
    piece->redirects = 0;
    if (++piece->refused_redirects > kMaxRefusedRedirects) {
      fail_piece(piece, error);
    } else {
      ++counts(*piece).retries;
      queue_.put_back(piece);
    }
  }
}

void FetchLoop::unauthorized(Group& group, const net::ResponseHead& head, const Error& error,
                             const Pieces& rest) {
  bool any = false;
  for (const auto& piece : rest) {
    if (std::exchange(piece->renewed, true)) {
      fail_piece(piece, error);
      continue;
    }
    any = true;
    ++counts(*piece).retries;
    piece->last_error = error.message;
    queue_.put_back(piece);
  }
  if (!any) return;
  const auto lane = rest.front()->blob->lane;
  lane->awaits_token = true;
  ++lane->token_requests;
  std::vector<std::string> challenges;
  for (const auto line : head.headers.all("WWW-Authenticate")) challenges.emplace_back(line);
  get_token(lane, [gateway = gateway_, lane, challenges, sent = group.sent] {
    const std::vector<std::string_view> lines(challenges.begin(), challenges.end());
    return gateway->authorizer.answer(lane->endpoint.host, lane->scope, lines, sent);
  });
}

void FetchLoop::ask_for_token(const std::shared_ptr<Lane>& lane) {
  ++lane->token_requests;
  get_token(lane, [gateway = gateway_, lane] {
    return gateway->authorizer.authorize(lane->endpoint.host, lane->scope);
  });
}

void FetchLoop::get_token(const std::shared_ptr<Lane>& lane,
                          std::function<Result<remote::Secret>()> get) {
  post_from_worker(lane, [lane, get = std::move(get)] { return Token{lane, get()}; });
}

// Not when it is shut down meanwhile: what waits for its turn then would hold up the end.
void FetchLoop::post_from_worker(const std::shared_ptr<Lane>& lane, std::function<Event()> make) {
  workers_->submit(lane->endpoint.host, [self = shared_from_this(), make = std::move(make)] {
    {
      const std::lock_guard lock(self->mutex_);
      if (self->shut_down_) return;
    }
    self->post(make());
  });
}

// For a lane to whose registry nothing may be sent: the file that is to blame may be another now.
// Nothing else reads the lane's endpoint without the lock meanwhile, for only a lane that is sent
// to asks for tokens, and no such lane comes here again.
void FetchLoop::look_up_endpoint(const std::shared_ptr<Lane>& lane) {
  lane->awaits_endpoint = true;
  post_from_worker(lane, [gateway = gateway_, lane, host = lane->endpoint.host] {
    return LookedUp{lane, gateway->hosts.endpoint(host)};
  });
}

void FetchLoop::endpoint_came(LookedUp& event, SteadyTime now) {
  Lane& lane = *event.lane;
  lane.awaits_endpoint = false;
  if (event.endpoint.refused) pause_host(*lane.host, event.endpoint.refused->message, now);
  lane.endpoint = std::move(event.endpoint);
}

void FetchLoop::token_came(Token& event, SteadyTime now) {
  Lane& lane = *event.lane;
  --lane.token_requests;
  if (!lane.awaits_token) return;
  if (!event.outcome && lane.token_requests > 0) return;  // another may bring one
  lane.awaits_token = false;
  if (event.outcome) {
    lane.denials = 0;
    return;
  }
  const Error& error = event.outcome.error();
  if (error.code == Code::kUnavailable) {
    pause_host(*lane.host, error.message, now);
    return;
  }
  const Pieces waiting = queue_.waiting(lane);
  if (++lane.denials >= kDenialsBelieved) {
    for (const auto& piece : waiting) fail_piece(piece, error.in(piece->name()));
    return;
  }
  // Everybody who waits would have the error, and it may be a mistake.
  pause_host(*lane.host, error.message, now);
  for (const auto& piece : waiting) {
    if (!std::exchange(piece->denied, true)) piece->renewed = false;
  }
}

void FetchLoop::pause_host(Host& host, const std::string& why, SteadyTime now) {
  host.last_error = why;
  const Duration delay = options_.backoff.delay(++host.failures, gateway_->random());
  host.paused_until = std::max(host.paused_until, now + delay);
}

void FetchLoop::try_again(const std::shared_ptr<Piece>& piece, const Error& error, SteadyTime now,
                          Duration asked) {
  piece->last_error = error.message;
  piece->redirects = 0;
  piece->unsupported = error.code == Code::kUnsupported ? piece->unsupported + 1 : 0;
  if (piece->unsupported >= kMaxUnsupported) return fail_piece(piece, error);
  const bool progressed = piece->data.size() > piece->data_before;
  piece->failures = progressed ? 1 : piece->failures + 1;
  // Where no time is left for it, expire() comes first: until then it may join what others ask for.
  const Duration delay = std::max(rest_of(asked, first_deadline(*piece), now),
                                  options_.backoff.delay(piece->failures, gateway_->random()));
  ++counts(*piece).retries;
  queue_.put_back(piece, now + delay);
}

}  // namespace runnel::fetch
