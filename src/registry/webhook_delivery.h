// Tells one webhook's receiver of its events, one at a time and in their order.
//
// An event stays until the receiver says 2xx. What it does not take is sent again after a pause
// that grows, and holds up those behind it until the pause is the longest: a receiver that restarts
// gets all in order, and one that never takes a certain event still gets the others.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "net/client.h"
#include "registry/webhook_config.h"
#include "registry/webhook_events.h"

namespace runnel::registry {

struct WebhookPace {
  Duration first_pause = std::chrono::seconds(1);
  Duration longest_pause = std::chrono::minutes(1);
  Duration answer_time = std::chrono::seconds(10);  // what a receiver has to take an event
};

// Any thread may call any method; none blocks but the end.
class WebhookDelivery {
 public:
  // The references must outlive it.
  WebhookDelivery(std::string name, const WebhookConfig& webhook, net::Client& client,
                  WebhookEvents& events, const Clock& clock, const WebhookPace& pace);
  // Waits for the answer that is under way.
  ~WebhookDelivery();

  // There is an event more.
  void wake();
  // Begins the end, so that several of them come to theirs at the same time.
  void request_stop() { thread_.request_stop(); }

 private:
  void run(const std::stop_token& stop);
  // Sends what there is. False when something of it is to be sent again.
  bool send_all(bool in_order, const std::stop_token& stop);
  enum class Outcome : uint8_t { kTaken, kDropped, kGivenUp, kWaits };
  // Drops what cannot be read, and what is too old when the receiver `is_down`.
  Outcome deliver(const WebhookEvent& event, bool is_down);
  bool send(const WebhookEvent& event);
  void remove(const WebhookEvent& event);

  const std::string name_;
  const WebhookConfig& webhook_;
  net::Client& client_;
  WebhookEvents& events_;
  const Clock& clock_;
  const WebhookPace pace_;
  std::string go_on_after_;  // where the last round gave up behind its first failure; "": nowhere

  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool news_ = true;  // what a process before this one left
  // Last: it uses all of the above.
  std::jthread thread_;
};

}  // namespace runnel::registry
