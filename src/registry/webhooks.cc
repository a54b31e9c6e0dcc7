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
                             const Clock& clock, const WebhookPace& pace)
    : webhooks_(webhooks), clock_(clock), events_(metadata), clients_(clients_for(webhooks)) {
  for (const auto& [name, webhook] : webhooks) {
    auto& client = *clients_.at(webhook.ca);
    deliveries_.emplace(
        name, std::make_unique<WebhookDelivery>(name, webhook, client, events_, clock, pace));
  }
  tidying_ = std::jthread([this](const std::stop_token& stop) { tidy(stop); });
}

WebhookSender::~WebhookSender() {
  tidying_.request_stop();
  for (const auto& [name, delivery] : deliveries_) delivery->request_stop();
}

void WebhookSender::tidy(const std::stop_token& stop) {
  std::vector<std::string> names;
  for (const auto& [name, webhook] : webhooks_) names.push_back(name);
  // The next start tries again.
  if (const auto tidied = events_.tidy(names, stop); !tidied)
    log::warning("events of webhooks: {}", tidied.error().message);
  for (const auto& [name, delivery] : deliveries_) delivery->wake();
}

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
    const auto id = webhook_event_id(next_number(), access::make_secret().substr(0, 12));
    event["id"] = id;
    const auto kept = events_.put(name, {.id = id, .body = json::serialize(event)});
    if (!kept) log::error("an event for webhook {} is lost: {}", name, kept.error().message);
    deliveries_.at(name)->wake();
  }
}

}  // namespace runnel::registry
