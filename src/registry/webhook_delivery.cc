#include "registry/webhook_delivery.h"

#include <algorithm>

#include "base/log.h"
#include "base/quote.h"

namespace runnel::registry {

namespace {

constexpr size_t kPage = 100;
// Who does not take an event for so long does not want it.
constexpr auto kKeptFor = std::chrono::days(1);
// A receiver that is down is not asked once for each event that waits for it.
constexpr size_t kMaxFailures = 3;

}  // namespace

WebhookDelivery::WebhookDelivery(std::string name, const WebhookConfig& webhook,
                                 net::Client& client, WebhookEvents& events, const Clock& clock,
                                 const WebhookPace& pace)
    : name_(std::move(name)),
      webhook_(webhook),
      client_(client),
      events_(events),
      clock_(clock),
      pace_(pace),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

WebhookDelivery::~WebhookDelivery() = default;

void WebhookDelivery::wake() {
  const std::lock_guard lock(mutex_);
  news_ = true;
  wake_.notify_all();
}

void WebhookDelivery::run(const std::stop_token& stop) {
  auto pause = pace_.first_pause;
  while (!stop.stop_requested()) {
    {
      const std::lock_guard lock(mutex_);
      news_ = false;
    }
    const bool all = send_all(pause < pace_.longest_pause, stop);
    std::unique_lock lock(mutex_);
    if (all) {
      pause = pace_.first_pause;
      // Now and then also without news: another process may have died with events of its own.
      wake_.wait_for(lock, stop, pace_.longest_pause, [this] { return news_; });
    } else {
      wake_.wait_for(lock, stop, pause, [] { return false; });
      pause = std::min(pause * 2, pace_.longest_pause);
    }
  }
}

bool WebhookDelivery::send_all(bool in_order, const std::stop_token& stop) {
  size_t failures = 0;
  std::string after;
  while (true) {
    const auto page = events_.list(name_, after, kPage);
    if (!page) log::warning("webhook {}: {}", name_, page.error().message);
    if (!page) return false;
    if (page->empty()) break;
    for (const auto& event : *page) {
      if (stop.stop_requested()) return false;
      after = event.id;
      const auto outcome = deliver(event, failures > 0);
      if (outcome == Outcome::kTaken) go_on_after_.clear();
      if (outcome == Outcome::kTaken || outcome == Outcome::kDropped) continue;
      ++failures;
      if (outcome == Outcome::kGivenUp) continue;
      if (in_order) return false;
      if (failures >= kMaxFailures) {
        go_on_after_ = after;
        return false;
      }
      if (failures == 1 && go_on_after_ > after) {
        after = go_on_after_;
        break;
      }
    }
  }
  go_on_after_.clear();
  return failures == 0;
}

WebhookDelivery::Outcome WebhookDelivery::deliver(const WebhookEvent& event, bool is_down) {
  const auto born = time_of_webhook_event(event.id);
  if (!born) {
    log::warning("webhook {}: event {} cannot be read", name_, quote(event.id));
    remove(event);
    return Outcome::kDropped;
  }
  const bool is_old = clock_.wall() > *born + kKeptFor;
  const bool is_tried = !is_old || !is_down;
  if (is_tried && send(event)) {
    remove(event);
    return Outcome::kTaken;
  }
  if (!is_old) return Outcome::kWaits;
  log::warning("webhook {}: event {} is given up", name_, event.id);
  remove(event);
  return is_tried ? Outcome::kGivenUp : Outcome::kDropped;
}

bool WebhookDelivery::send(const WebhookEvent& event) {
  net::ClientRequest request("POST", webhook_.url);
  request.headers.add("Content-Type", "application/json");
  if (!webhook_.authorization.empty())
    request.origin_headers.add("Authorization", webhook_.authorization);
  request.body = event.body;
  request.max_redirects = 0;
  request.connect_timeout = request.stall_timeout = request.total_timeout = pace_.answer_time;
  const auto answer = client_.fetch(std::move(request), 1 << 20);
  if (answer && answer->head.status >= 200 && answer->head.status < 300) return true;
  const auto why = answer ? fmt::format("status {}", answer->head.status) : answer.error().message;
  log::warning("webhook {}: event {} was not taken: {}", name_, event.id, why);
  return false;
}

void WebhookDelivery::remove(const WebhookEvent& event) {
  // It is sent again then.
  if (const auto gone = events_.remove(name_, event.id); !gone)
    log::warning("webhook {}: event {}: {}", name_, event.id, gone.error().message);
}

}  // namespace runnel::registry
