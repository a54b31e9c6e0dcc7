#include "registry/soft_delete_api.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <limits>

#include "base/quote.h"
#include "oci/reference.h"
#include "registry/attributes.h"
#include "registry/authorize.h"
#include "registry/held_tags.h"
#include "registry/utc_time.h"

namespace runnel::registry {

namespace json = boost::json;

using access::Action;
using meta::Deletion;

namespace {

constexpr std::string_view kRoot = "/runnel/v1/_soft-delete";
constexpr std::string_view kRepositories = "/acr/v1/";
constexpr std::string_view kRestore = ":restore";
constexpr size_t kMaxPage = 1000;
// Deletions that one request looks through for those that its caller may see: some milliseconds.
constexpr size_t kMaxLookedAt = 2000;

std::optional<int64_t> number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::string_view kind_name(Deletion::Kind kind) {
  switch (kind) {
    case Deletion::Kind::kManifest: return "manifest";
    case Deletion::Kind::kTag: return "tag";
    case Deletion::Kind::kOverwrite: return "overwrite";
    case Deletion::Kind::kRepository: return "repository";
  }
  return "";
}

json::array texts(const std::vector<std::string>& all) {
  return json::array(all.begin(), all.end());
}

json::object to_json(const Deletion& deletion, const SoftDeletePolicy& policy) {
  json::object object;
  object["id"] = deletion.id;
  object["kind"] = kind_name(deletion.kind);
  object["repository"] = deletion.repository;
  if (!deletion.digest.empty()) object["digest"] = deletion.digest.to_string();
  object["tags"] = texts(deletion.tags);
  object["deletedAt"] = to_utc_text(deletion.deleted);
  object["expiresAt"] = to_utc_text(deletion.deleted + policy.kept);
  return object;
}

net::Response ok(const json::object& body) {
  return json_response(200, "application/json", json::serialize(body));
}

// What every call here looks at.
struct Call {
  Services& services;
  const Caller& caller;
  const net::Request& request;
};

Refusal no_such_deletion(std::string_view id) {
  return {
      404, "NAME_UNKNOWN",
      fmt::format("there is no deletion {}: it was undone or forgotten, or never was", quote(id))};
}

std::expected<void, Refusal> check(const Call& call, Action action, std::string_view repository,
                                   const Refusal& absent) {
  const Deed deed{.action = action, .repository = repository, .seeing = Action::kMetadataRead};
  return authorize_deed(call.services.gate, call.caller, deed, call.request, absent);
}

std::expected<Deletion, Refusal> find(const Call& call, std::string_view text, Action action) {
  // Who has not logged in gets one answer for all: numbers follow one another, and each would tell
  // a repository's name.
  const bool stranger = call.caller.is_anonymous() && call.services.gate != nullptr;
  const auto absent =
      stranger ? call.services.gate->unauthorized(call.request, "", "", "log in to see deletions")
               : no_such_deletion(text);
  const auto id = number(text);
  if (!id) return std::unexpected(absent);
  RUNNEL_TRY(auto found, call.services.metadata.deletion(*id));
  if (!found) return std::unexpected(absent);
  if (stranger && !call.caller.may(action, found->repository)) return std::unexpected(absent);
  RUNNEL_DO(check(call, action, found->repository, absent));
  return *std::move(found);
}

struct Page {
  std::vector<Deletion> found;
  std::optional<int64_t> next;  // where the next page begins
};

// The deletions before `before` that the caller may see, at most `limit`: fewer also when it may
// not see those that a request has time for.
Result<Page> visible(const Call& call, std::string_view repository, int64_t before, size_t limit) {
  Page page;
  if (!repository.empty() && !call.caller.may(Action::kMetadataRead, repository)) return page;
  size_t looked_at = 0;
  while (looked_at < kMaxLookedAt) {
    RUNNEL_TRY(auto batch, call.services.metadata.deletions(repository, before, limit + 1));
    for (auto& each : batch) {
      if (page.found.size() == limit) {
        page.next = before;
        return page;
      }
      before = each.id;
      if (call.caller.may(Action::kMetadataRead, each.repository))
        page.found.push_back(std::move(each));
    }
    looked_at += batch.size();
    if (batch.size() <= limit) return page;
  }
  page.next = before;
  return page;
}

Answer list(const Call& call) {
  const auto& query = call.request.query;
  const auto repository = query.first("repository").value_or("");
  const auto before =
      number(query.first("before").value_or(std::to_string(std::numeric_limits<int64_t>::max())));
  const auto n = number(query.first("n").value_or("100"));
  if (!before || !n)
    return refuse(400, "PAGINATION_NUMBER_INVALID", "\"n\" and \"before\" are numbers");
  const size_t limit = std::clamp<size_t>(static_cast<size_t>(*n), 1, kMaxPage);
  RUNNEL_TRY(const auto page, visible(call, repository, *before, limit));
  RUNNEL_TRY(const auto policy, call.services.soft_delete());
  json::array entries;
  for (const auto& each : page.found) entries.push_back(to_json(each, policy));
  json::object body;
  body["deletions"] = std::move(entries);
  auto response = ok(body);
  if (page.next) {
    net::Query next;
    if (!repository.empty()) next.add("repository", std::string(repository));
    next.add("n", std::to_string(limit));
    next.add("before", std::to_string(*page.next));
    response.headers.add("Link", fmt::format("<{}?{}>; rel=\"next\"", kRoot, next.text()));
  }
  return response;
}

Answer restore(const Call& call, std::string_view id) {
  RUNNEL_TRY(const auto found, find(call, id, Action::kContentWrite));
  RUNNEL_DO(check_restore(call.services.metadata, found));
  RUNNEL_TRY(const auto restored, call.services.metadata.restore(found.id));
  if (!restored) return std::unexpected(no_such_deletion(id));
  json::object body;
  body["repository"] = found.repository;
  body["manifests"] = restored->manifests;
  body["tags"] = texts(restored->tags);
  body["keptTags"] = texts(restored->kept_tags);
  return ok(body);
}

std::unexpected<Refusal> deletion_is_off() {
  return refuse(405, "UNSUPPORTED", "deletion is switched off in this registry's configuration");
}

Answer forget(const Call& call, std::string_view id) {
  if (!call.services.config.deletion) return deletion_is_off();
  RUNNEL_TRY(const auto found, find(call, id, Action::kContentDelete));
  RUNNEL_DO(check_forget(call.services.metadata, found));
  RUNNEL_TRY(const bool existed, call.services.metadata.forget(found.id));
  if (!existed) return std::unexpected(no_such_deletion(id));
  return net::Response(204);
}

Answer delete_repository(const Call& call) {
  const auto name = std::string_view(call.request.path).substr(kRepositories.size());
  if (!oci::is_valid_repository(name))
    return refuse(400, "NAME_INVALID", fmt::format("{} is not a repository's name", quote(name)));
  const Refusal absent(404, "NAME_UNKNOWN", fmt::format("there is no repository {}", name));
  RUNNEL_DO(check(call, Action::kContentDelete, name, absent));
  if (!call.services.config.deletion) return deletion_is_off();
  RUNNEL_DO(check_repository_attributes(call.services.metadata, Attribute::kDelete, name));
  RUNNEL_TRY(const auto policy, call.services.soft_delete());
  RUNNEL_TRY(const bool existed,
             call.services.metadata.delete_repository(name, policy.undo(), held_for(name)));
  if (!existed) return std::unexpected(absent);
  return net::Response(202);
}

Answer answer(const Call& call) {
  const std::string_view path = call.request.path;
  const auto& method = call.request.method;
  if (path.starts_with(kRepositories)) return delete_repository(call);
  if (path == kRoot && method == "GET") return list(call);
  if (path.size() > kRoot.size() + 1) {
    const auto id = path.substr(kRoot.size() + 1);
    if (method == "POST" && id.ends_with(kRestore))
      return restore(call, id.substr(0, id.size() - kRestore.size()));
    if (method == "DELETE") return forget(call, id);
    if (method == "GET") {
      RUNNEL_TRY(const auto found, find(call, id, Action::kMetadataRead));
      RUNNEL_TRY(const auto policy, call.services.soft_delete());
      return ok(to_json(found, policy));
    }
  }
  return refuse(405, "UNSUPPORTED", fmt::format("{} is not possible here", quote(method)));
}

}  // namespace

bool is_soft_delete(const net::Request& request) {
  const std::string_view path = request.path;
  if (path.starts_with(kRoot)) return path.size() == kRoot.size() || path[kRoot.size()] == '/';
  // Not what the API has below a repository: its names begin with '_'.
  return request.method == "DELETE" && path.starts_with(kRepositories) &&
         path.find("/_") == std::string_view::npos;
}

net::awaitable<Answer> handle_soft_delete(Services& services, net::Request& request) {
  const auto caller = co_await identify(services.gate, request);
  if (!caller) co_return std::unexpected(caller.error());
  auto work = [&] { return answer({services, *caller, request}); };
  auto& pool = request.method == "GET" ? services.readers : services.writers;
  co_return co_await net::on_pool(pool, std::move(work));
}

}  // namespace runnel::registry
