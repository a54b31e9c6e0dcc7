#include "registry/webhooks.h"

#include <algorithm>
#include <boost/json.hpp>

#include "access/grant.h"
#include "access/secret.h"
#include "base/log.h"
#include "registry/route.h"
#include "registry/utc_time.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

std::map<std::string, std::unique_ptr<net::Client>> clients_for(const Webhooks& webhooks) {
  std::map<std::string, std::unique_ptr<net::Client>> made;
  for (const auto& [name, webhook] : webhooks) {
    if (made.contains(webhook.ca)) continue;
    net::Client::Options options;
    options.ca_file = webhook.ca;
    made.emplace(webhook.ca, std::make_unique<net::Client>(std::move(options)));
  }
  return made;
}

constexpr std::string_view kKind = "webhook-event";
constexpr size_t kPage = 100;
constexpr Duration kFirstPause = std::chrono::seconds(1);
constexpr Duration kLongestPause = std::chrono::minutes(1);
constexpr Duration kAnswerTime = std::chrono::seconds(10);
// Who does not take an event for so long does not want it.
constexpr auto kKeptFor = std::chrono::days(1);
constexpr std::string_view kRestore = "/runnel/v1/_soft-delete/";
constexpr std::string_view kRepositories = "/acr/v1/";

// What happened, when the request was one that receivers are told of.
std::optional<json::object> event_of(const net::Request& request, const net::Response& response) {
  json::object event;
  const auto route = parse_route(request.path);
  if (route && route->kind == Route::Kind::kManifest) {
    const bool pushed = request.method == "PUT" && response.status == 201;
    if (!pushed && (request.method != "DELETE" || response.status != 202)) return std::nullopt;
    event["action"] = pushed ? "push" : "delete";
    event["repository"] = route->repository;
    event["reference"] = route->target;
    if (const auto digest = response.headers.first("Docker-Content-Digest"))
      event["digest"] = *digest;
    json::array tags;
    for (const auto tag : response.headers.all("OCI-Tag")) tags.emplace_back(tag);
    if (!tags.empty()) event["tags"] = std::move(tags);
    return event;
  }
  if (request.method == "DELETE" && response.status == 202 &&
      request.path.starts_with(kRepositories)) {
    event["action"] = "delete";
    event["repository"] = std::string_view(request.path).substr(kRepositories.size());
    return event;
  }
  if (request.method != "POST" || response.status != 200 || !request.path.starts_with(kRestore) ||
      !request.path.ends_with(":restore"))
    return std::nullopt;
  const auto* text = std::get_if<std::string>(&response.body);
  json::error_code failed;
  auto body = json::parse(text != nullptr ? *text : std::string(), failed);
  if (failed || !body.is_object()) return std::nullopt;
  event = std::move(body.get_object());
  event["action"] = "restore";
  return event;
}

bool is_wanted(const WebhookConfig& webhook, std::string_view repository) {
  for (const auto& pattern : webhook.repositories)
    if (access::matches(pattern, repository)) return true;
  return false;
}

}  // namespace

struct WebhookSender::Event {
  json::object body;
};

WebhookSender::WebhookSender(const Webhooks& webhooks, meta::MetadataStore& metadata,
                             const Clock& clock)
    : webhooks_(webhooks),
      metadata_(metadata),
      clock_(clock),
      clients_(clients_for(webhooks)),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

WebhookSender::~WebhookSender() = default;

// The wall clock's time, which is what events are given up by, or more: none is used twice.
uint64_t WebhookSender::next_number() {
  const auto now =
      static_cast<uint64_t>(std::chrono::nanoseconds(clock_.wall().time_since_epoch()).count());
  auto last = last_.load();
  while (true) {
    const auto next = std::max(last + 1, now);
    if (last_.compare_exchange_weak(last, next)) return next;
  }
}

void WebhookSender::remember(const net::Request& request, const net::Response& response) {
  auto event = event_of(request, response);
  if (event) keep(request.principal, {*std::move(event)});
}

void WebhookSender::remember(const meta::Operation& operation, const meta::OperationEnd& end,
                             const std::vector<oci::Digest>& artifacts) {
  const bool succeeded = end.status == meta::OperationStatus::kSucceeded;
  json::object event;
  event["action"] = succeeded ? "convert_completed" : "convert_failed";
  event["repository"] = operation.repository;
  event["digest"] = operation.digest.to_string();
  event["operation"] = operation.id;
  if (succeeded) {
    json::array list;
    for (const auto& artifact : artifacts) list.push_back(json::string(artifact.to_string()));
    event["artifacts"] = std::move(list);
  } else {
    event["error"] = json::object{{"code", end.code}, {"message", end.message}};
  }
  keep(operation.principal, {std::move(event)});
}

void WebhookSender::keep(std::string_view principal, Event told) {
  auto& event = told.body;
  const std::string repository(event["repository"].get_string());
  event["time"] = to_utc_text(clock_.wall());
  event["principal"] = principal;
  for (const auto& [name, webhook] : webhooks_) {
    if (!is_wanted(webhook, repository)) continue;
    // In the order of time; the secret part keeps two processes apart.
    const auto id = fmt::format("{:020}-{}", next_number(), access::make_secret().substr(0, 12));
    json::object document;
    document["webhook"] = name;
    event["id"] = id;
    document["event"] = event;
    const auto kept = metadata_.put_document(kKind, id, json::serialize(document), 0);
    if (!kept) log::error("an event for webhook {} is lost: {}", name, kept.error().message);
  }
  const std::lock_guard lock(mutex_);
  news_ = true;
  wake_.notify_all();
}

void WebhookSender::run(const std::stop_token& stop) {
  auto pause = kFirstPause;
  while (!stop.stop_requested()) {
    const auto failed = send_due(stop);
    std::unique_lock lock(mutex_);
    if (failed > 0) {
      news_ = false;
      wake_.wait_for(lock, stop, pause, [] { return false; });
      pause = std::min(pause * 2, kLongestPause);
    } else {
      pause = kFirstPause;
      // Now and then also without news: another process may have died with events of its own.
      wake_.wait_for(lock, stop, kLongestPause, [this] { return news_; });
      news_ = false;
    }
  }
}

size_t WebhookSender::send_due(const std::stop_token& stop) {
  size_t failed = 0;
  std::string after;
  while (!stop.stop_requested()) {
    const auto page = metadata_.documents(kKind, after, kPage);
    if (!page) return failed + 1;
    for (const auto& event : *page) {
      if (stop.stop_requested()) return failed;
      after = event.name;
      if (!send(event)) {
        ++failed;
        continue;
      }
      const auto gone = metadata_.delete_document(kKind, event.name);
      if (!gone) log::warning("webhook event {}: {}", event.name, gone.error().message);
    }
    if (page->size() < kPage) return failed;
  }
  return failed;
}

// True when it need not be sent again.
bool WebhookSender::send(const meta::Document& event) {
  json::error_code unreadable;
  const auto document = json::parse(event.body, unreadable);
  if (unreadable || !document.is_object()) return true;
  const auto* name = document.get_object().if_contains("webhook");
  const auto* body = document.get_object().if_contains("event");
  if (name == nullptr || !name->is_string() || body == nullptr) return true;
  const auto found = webhooks_.find(std::string(name->get_string()));
  if (found == webhooks_.end()) return true;  // the configuration does not have it any more
  net::ClientRequest request("POST", found->second.url);
  request.headers.add("Content-Type", "application/json");
  if (!found->second.authorization.empty())
    request.origin_headers.add("Authorization", found->second.authorization);
  request.body = json::serialize(*body);
  request.max_redirects = 0;
  request.connect_timeout = request.stall_timeout = request.total_timeout = kAnswerTime;
  const auto answer = clients_.at(found->second.ca)->fetch(std::move(request), 1 << 20);
  if (answer && answer->head.status >= 200 && answer->head.status < 300) return true;
  const auto why = answer ? fmt::format("status {}", answer->head.status) : answer.error().message;
  const auto born = WallTime(std::chrono::nanoseconds(std::stoull(event.name.substr(0, 20))));
  const bool given_up = clock_.wall() > born + kKeptFor;
  log::warning("webhook {}: event {} was not taken: {}{}", found->first, event.name, why,
               given_up ? "; it is given up" : "");
  return given_up;
}

}  // namespace runnel::registry
