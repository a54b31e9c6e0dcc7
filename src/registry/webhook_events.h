// The events that receivers of webhooks are still to be told of: documents of the metadata store.
//
// Each receiver has its own, in the order of their ids, so that nobody reads past what another one
// does not take.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "meta/metadata_store.h"

namespace runnel::registry {

struct WebhookEvent {
  std::string id;    // when it happened, and something that no other event has
  std::string body;  // of the POST
};

// "NANOSECONDS-UNIQUE", with so many digits that ids sort as their times do. `unique` has no space.
std::string webhook_event_id(uint64_t nanoseconds, std::string_view unique);
// When it happened, in that order; empty for what is no such id.
std::optional<WallTime> time_of_webhook_event(std::string_view id);

// Any thread; calls block.
class WebhookEvents {
 public:
  // The reference must outlive it.
  explicit WebhookEvents(meta::MetadataStore& metadata) : metadata_(metadata) {}

  Result<void> put(std::string_view webhook, const WebhookEvent& event);
  // The webhook's oldest with ids behind `after`, or from the beginning when that is empty.
  Result<std::vector<WebhookEvent>> list(std::string_view webhook, std::string_view after,
                                         size_t limit) const;
  Result<void> remove(std::string_view webhook, std::string_view id);

  // Gives each webhook what an older program kept for all of them in one row, and forgets what was
  // kept for webhooks that are not in `names` (any more).
  Result<void> tidy(const std::vector<std::string>& names, const std::stop_token& stop);

 private:
  Result<void> take_over(const std::vector<std::string>& names, const std::stop_token& stop);
  Result<void> forget_others(const std::vector<std::string>& names, const std::stop_token& stop);

  meta::MetadataStore& metadata_;
};

}  // namespace runnel::registry
