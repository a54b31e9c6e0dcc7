#include "registry/webhook_events.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "base/log.h"
#include "base/quote.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

// By "WEBHOOK ID": a space is in neither.
constexpr std::string_view kKind = "event-of-webhook";
// Those of older programs: of all webhooks, by their ids, with bodies that name the webhook.
constexpr std::string_view kOldKind = "webhook-event";
constexpr size_t kPage = 100;
constexpr size_t kDigits = 20;

// The webhook's name may have spaces.
std::string without_spaces(std::string_view webhook) {
  std::string text;
  for (const char c : webhook) {
    if (c == ' ' || c == '%')
      text += c == ' ' ? "%20" : "%25";
    else
      text += c;
  }
  return text;
}

std::string name_of(std::string_view webhook, std::string_view id) {
  return fmt::format("{} {}", without_spaces(webhook), id);
}

struct OldEvent {
  std::string webhook;
  WebhookEvent event;
};

std::optional<OldEvent> old_event(const meta::Document& document) {
  json::error_code failed;
  const auto value = json::parse(document.body, failed);
  if (failed || !value.is_object()) return std::nullopt;
  const auto* webhook = value.get_object().if_contains("webhook");
  const auto* event = value.get_object().if_contains("event");
  if (webhook == nullptr || !webhook->is_string() || event == nullptr) return std::nullopt;
  return OldEvent{.webhook = std::string(webhook->get_string()),
                  .event = {.id = document.name, .body = json::serialize(*event)}};
}

}  // namespace

std::string webhook_event_id(uint64_t nanoseconds, std::string_view unique) {
  static_assert(kDigits == 20);
  return fmt::format("{:020}-{}", nanoseconds, unique);
}

std::optional<WallTime> time_of_webhook_event(std::string_view id) {
  if (id.size() <= kDigits || id[kDigits] != '-') return std::nullopt;
  int64_t nanoseconds = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + kDigits, nanoseconds);
  if (error != std::errc() || end != id.data() + kDigits) return std::nullopt;
  return WallTime(std::chrono::nanoseconds(nanoseconds));
}

Result<void> WebhookEvents::put(std::string_view webhook, const WebhookEvent& event) {
  RUNNEL_DO(metadata_.put_document(kKind, name_of(webhook, event.id), event.body, 0));
  return {};
}

Result<std::vector<WebhookEvent>> WebhookEvents::list(std::string_view webhook,
                                                      std::string_view after, size_t limit) const {
  const auto prefix = name_of(webhook, "");
  RUNNEL_TRY(auto documents, metadata_.documents(kKind, name_of(webhook, after), limit));
  std::vector<WebhookEvent> found;
  for (auto& document : documents) {
    if (!document.name.starts_with(prefix)) break;
    found.emplace_back(document.name.substr(prefix.size()), std::move(document.body));
  }
  return found;
}

Result<void> WebhookEvents::remove(std::string_view webhook, std::string_view id) {
  RUNNEL_DO(metadata_.delete_document(kKind, name_of(webhook, id)));
  return {};
}

Result<void> WebhookEvents::tidy(const std::vector<std::string>& names,
                                 const std::stop_token& stop) {
  RUNNEL_DO(take_over(names, stop));
  return forget_others(names, stop);
}

Result<void> WebhookEvents::take_over(const std::vector<std::string>& names,
                                      const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    RUNNEL_TRY(const auto page, metadata_.documents(kOldKind, "", kPage));
    if (page.empty()) break;
    for (const auto& document : page) {
      const auto old = old_event(document);
      if (!old) log::warning("webhook event {} cannot be read", quote(document.name));
      if (old && std::ranges::find(names, old->webhook) != names.end()) {
        // One that is there was taken over by a process that died then.
        const auto put_here = put(old->webhook, old->event);
        if (!put_here && put_here.error().code != Code::kConflict)
          return std::unexpected(put_here.error());
      }
      RUNNEL_DO(metadata_.delete_document(kOldKind, document.name));
    }
  }
  return {};
}

Result<void> WebhookEvents::forget_others(const std::vector<std::string>& names,
                                          const std::stop_token& stop) {
  std::string after;
  while (!stop.stop_requested()) {
    RUNNEL_TRY(const auto first, metadata_.documents(kKind, after, 1));
    if (first.empty()) break;
    const auto& name = first.front().name;
    const auto prefix = name.substr(0, std::min(name.rfind(' '), name.size() - 1) + 1);
    const auto is_its = [&](const std::string& webhook) { return name_of(webhook, "") == prefix; };
    if (std::ranges::any_of(names, is_its)) {
      after = prefix + '\xff';  // behind all of its own
      continue;
    }
    RUNNEL_DO(metadata_.delete_document(kKind, name));
    after = name;
  }
  return {};
}

}  // namespace runnel::registry
