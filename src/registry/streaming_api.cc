#include "registry/streaming_api.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <limits>
#include <set>

#include "base/quote.h"
#include "net/url.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "oci/reference.h"
#include "registry/attributes.h"
#include "registry/authorize.h"
#include "registry/blob_api.h"
#include "registry/conversions.h"
#include "registry/operation_json.h"
#include "registry/request_body.h"
#include "registry/streaming_settings.h"
#include "registry/teleport.h"

namespace runnel::registry {

namespace json = boost::json;

using access::Action;
using meta::Operation;

namespace {

constexpr std::string_view kAcr = "/acr/v1/";
constexpr std::string_view kOurs = "/runnel/v1/";
constexpr std::string_view kStreaming = "/_streaming";
constexpr std::string_view kOperations = "/_operations/";
constexpr std::string_view kArtifact = "/_artifact/";
constexpr std::string_view kListing = "/runnel/v1/_operations";
constexpr std::string_view kMount = "/mount/v1/";
constexpr std::string_view kKeys = "/.well-known/runnel/converter-keys";
constexpr std::string_view kCancel = ":cancel";
constexpr std::string_view kJson = "application/json; charset=utf-8";
constexpr size_t kMaxBody = 64 * 1024;
constexpr size_t kMaxPage = 1000;
constexpr size_t kMaxFormatText = 64;
constexpr size_t kMaxArtifacts = 1000;  // of one image, that one call deletes
constexpr size_t kMaxBulk = 10'000;     // images that one call asks for

struct Target {
  enum class Kind : uint8_t {
    kSwitch,
    kImage,
    kOperation,
    kCancel,
    kListing,
    kBulk,
    kArtifact,
    kKeys,
    kMount
  };
  Kind kind = Kind::kSwitch;
  std::string repository;
  std::string rest;  // digest or operation
};

using Kind = Target::Kind;

std::optional<Target> below(std::string_view path, std::string_view part, Kind kind) {
  const auto at = path.rfind(part);
  if (at == std::string_view::npos || at == 0) return std::nullopt;
  const auto rest = path.substr(at + part.size());
  if (rest.empty() || rest.find('/') != std::string_view::npos) return std::nullopt;
  return Target{
      .kind = kind, .repository = std::string(path.substr(0, at)), .rest = std::string(rest)};
}

std::optional<Target> parse_target(std::string_view path) {
  if (path == kKeys) return Target{.kind = Kind::kKeys};
  if (path == kListing) return Target{.kind = Kind::kListing};
  if (path.starts_with(kMount))
    return below(path.substr(kMount.size()), "/_manifests/", Kind::kMount);
  const bool ours = path.starts_with(kOurs);
  if (!ours && !path.starts_with(kAcr)) return std::nullopt;
  path.remove_prefix(ours ? kOurs.size() : kAcr.size());
  if (path.size() > kStreaming.size() && path.ends_with(kStreaming))
    return Target{.kind = ours ? Kind::kBulk : Kind::kSwitch,
                  .repository = std::string(path.substr(0, path.size() - kStreaming.size()))};
  if (ours) return below(path, kArtifact, Kind::kArtifact);
  if (auto image = below(path, "/_streaming/", Kind::kImage)) return image;
  auto operation = below(path, kOperations, Kind::kOperation);
  if (operation && operation->rest.ends_with(kCancel)) {
    operation->kind = Kind::kCancel;
    operation->rest.resize(operation->rest.size() - kCancel.size());
  }
  return operation;
}

// What every call here looks at.
struct Call {
  Services& services;
  Conversions& conversions;
  const Caller& caller;
  const net::Request& request;
  const Target& target;
  Bytes body;

  meta::OperationQueue& queue() const { return conversions.queue(); }
};

Refusal no_such_operation() {
  return {404, "OPERATION_UNKNOWN", "The specified operation does not exist"};
}

Refusal no_such_repository(std::string_view repository) {
  return {404, "NAME_UNKNOWN", fmt::format("there is no repository {}", repository)};
}

std::expected<void, Refusal> check_name(const Target& target) {
  if (oci::is_valid_repository(target.repository)) return {};
  return refuse(400, "NAME_INVALID",
                fmt::format("{} is not a repository's name", quote(target.repository)));
}

std::expected<void, Refusal> check(const Call& call, Action action, const Refusal& absent) {
  RUNNEL_DO(check_name(call.target));
  return authorize_action(call.services.gate, call.caller, action, call.target.repository,
                          call.request, absent);
}

// To ask for something: clients say pull,push.
std::expected<void, Refusal> check_push(const Call& call, const Refusal& absent) {
  RUNNEL_DO(check(call, Action::kContentRead, absent));
  RUNNEL_DO(check(call, Action::kContentWrite, absent));
  return check_repository_attributes(call.services.metadata, Attribute::kWrite,
                                     call.target.repository);
}

net::Response answer(int status, const json::object& body) {
  return json_response(status, kJson, json::serialize(body));
}

void add_operation_headers(const Call& call, net::Response& response, const std::string& id) {
  const auto location =
      fmt::format("{}/acr/v1/{}/_operations/{}", base_url(call.services.config, call.request),
                  call.target.repository, id);
  response.headers.add("location", location);
  response.headers.add("operation-location", location);
  response.headers.add("operation-id", id);
}

json::object switch_json(const StreamingSettings& settings) {
  json::object body;
  body["convertPushedImages"] = settings.convert_pushed;
  if (!settings.is_set) return body;
  body["conversionFormat"] = settings.format;
  body["conversionVersion"] = settings.version;
  if (settings.hold_tag.count() > 0) body["holdTag"] = settings.hold_tag.count();
  return body;
}

Answer show_switch(const Call& call) {
  RUNNEL_DO(check(call, Action::kContentRead, no_such_repository(call.target.repository)));
  RUNNEL_TRY(const auto settings,
             load_streaming_settings(call.services.metadata, call.target.repository));
  return answer(200, switch_json(settings));
}

std::expected<json::object, Refusal> body_object(const Call& call) {
  if (call.body.empty()) return json::object();
  json::error_code failed;
  auto value = json::parse(as_text(call.body), failed);
  if (failed || !value.is_object())
    return refuse(400, "UNSUPPORTED", "the body is not a JSON object");
  return std::move(value.get_object());
}

// A text of the body, if it is there.
std::expected<std::optional<std::string>, Refusal> text_of(const json::object& body,
                                                           std::string_view key) {
  const auto* found = body.if_contains(key);
  if (found == nullptr || found->is_null()) return std::nullopt;
  if (!found->is_string() || found->get_string().size() > kMaxFormatText)
    return refuse(400, "UNSUPPORTED", fmt::format("\"{}\" is a short text", key));
  return std::string(found->get_string());
}

Answer change_switch(const Call& call) {
  RUNNEL_DO(check_push(call, no_such_repository(call.target.repository)));
  RUNNEL_TRY(const auto body, body_object(call));
  RUNNEL_TRY(const auto format, text_of(body, "conversionFormat"));
  RUNNEL_TRY(const auto version, text_of(body, "conversionVersion"));
  const auto* convert = body.if_contains("convertPushedImages");
  const auto* hold = body.if_contains("holdTag");
  if (convert == nullptr ? hold == nullptr : !convert->is_bool())
    return refuse(400, "UNSUPPORTED", "\"convertPushedImages\" is true or false");
  if (hold != nullptr &&
      (!hold->is_int64() || hold->get_int64() < 0 || hold->get_int64() > kMaxHoldTag))
    return refuse(400, "UNSUPPORTED",
                  fmt::format("\"holdTag\" is a number of seconds, at most {}", kMaxHoldTag));
  const auto change = [&](StreamingSettings& settings) {
    if (convert != nullptr) settings.convert_pushed = convert->get_bool();
    if (hold != nullptr) settings.hold_tag = std::chrono::seconds(hold->get_int64());
    if (format) settings.format = *format;
    if (version) settings.version = *version;
  };
  RUNNEL_TRY(const auto settings,
             change_streaming_settings(call.services.metadata, call.target.repository, change));
  auto said = switch_json(settings);
  const auto id = meta::random_operation_id();
  said["status"] = status_name(meta::OperationStatus::kSucceeded);
  said["id"] = id;
  auto response = answer(202, said);
  add_operation_headers(call, response, id);
  return response;
}

net::Response brief(const Call& call, int status, const Operation& operation) {
  json::object body;
  body["id"] = operation.id;
  body["status"] = status_name(operation.status);
  auto response = answer(status, body);
  add_operation_headers(call, response, operation.id);
  return response;
}

Answer show_image(const Call& call) {
  RUNNEL_DO(check(call, Action::kContentRead, no_such_operation()));
  RUNNEL_TRY(const auto digest, digest_of(call.target.rest));
  RUNNEL_TRY(const auto last, call.queue().last_operation(call.target.repository, digest));
  if (!last) return std::unexpected(no_such_operation());
  return brief(call, 200, *last);
}

Answer convert_image(const Call& call) {
  RUNNEL_DO(check_push(call, no_such_repository(call.target.repository)));
  RUNNEL_TRY(const auto digest, digest_of(call.target.rest));
  RUNNEL_TRY(const auto body, body_object(call));
  RUNNEL_DO(text_of(body, "conversionFormat"));
  RUNNEL_DO(text_of(body, "conversionVersion"));
  RUNNEL_TRY(const auto enqueued,
             call.conversions.request({.repository = call.target.repository,
                                       .digest = digest,
                                       .priority = meta::OperationPriority::kPerson,
                                       .principal = call.caller.id()}));
  return brief(call, 202, enqueued.operation);
}

std::expected<Operation, Refusal> find_operation(const Call& call) {
  RUNNEL_TRY(auto found, call.queue().operation(call.target.rest));
  if (!found || found->repository != call.target.repository)
    return std::unexpected(no_such_operation());
  return *std::move(found);
}

Answer show_operation(const Call& call) {
  RUNNEL_DO(check(call, Action::kContentRead, no_such_operation()));
  RUNNEL_TRY(const auto operation, find_operation(call));
  return json_response(200, kJson, operation_json(operation));
}

Answer cancel_operation(const Call& call) {
  RUNNEL_DO(check(call, Action::kContentRead, no_such_operation()));
  RUNNEL_DO(check(call, Action::kContentWrite, no_such_operation()));
  RUNNEL_TRY(const auto before, find_operation(call));
  RUNNEL_TRY(const auto outcome, call.conversions.cancel(before.id));
  RUNNEL_TRY(const auto after, find_operation(call));
  if (outcome == meta::CancelOutcome::kPublishing)
    return refuse(409, "CONFLICT", "the conversion is done and its artifact becomes visible now");
  if (after.status != meta::OperationStatus::kCanceled)
    return refuse(409, "CONFLICT",
                  fmt::format("the operation has ended: it is {}", status_name(after.status)));
  return json_response(200, kJson, operation_json(after, "Cancel: "));
}

std::optional<int64_t> number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

struct Page {
  meta::OperationFilter filter;
  int64_t before = std::numeric_limits<int64_t>::max();
  size_t limit = 100;
};

std::expected<Page, Refusal> page_of(const net::Request& request) {
  const auto& query = request.query;
  Page page;
  page.filter.repository = query.first("repository").value_or("");
  if (const auto text = query.first("status"); text && !text->empty()) {
    page.filter.status = parse_status(*text);
    if (!page.filter.status)
      return refuse(400, "UNSUPPORTED",
                    fmt::format("{} is not NotStarted, Running, Succeeded, Failed or Canceled",
                                quote(*text)));
  }
  const auto before = number(query.first("before").value_or(std::to_string(page.before)));
  const auto n = number(query.first("n").value_or("100"));
  if (!before || !n)
    return refuse(400, "PAGINATION_NUMBER_INVALID", "\"n\" and \"before\" are numbers");
  page.before = *before;
  page.limit = std::clamp<size_t>(static_cast<size_t>(*n), 1, kMaxPage);
  return page;
}

// `count` operations that the caller may see, or as many as there are.
Result<std::vector<Operation>> visible(const Call& call, const Page& page, size_t count) {
  std::vector<Operation> found;
  auto before = page.before;
  while (found.size() < count) {
    RUNNEL_TRY(auto some, call.queue().operations(page.filter, before, count));
    if (some.empty()) break;
    before = some.back().position;
    for (auto& each : some)
      if (found.size() < count && call.caller.may(Action::kContentRead, each.repository))
        found.push_back(std::move(each));
  }
  return found;
}

Answer list_operations(const Call& call) {
  const auto* gate = call.services.gate;
  if (gate != nullptr && call.caller.is_anonymous())
    return std::unexpected(gate->unauthorized(call.request, "", "", "log in to see operations"));
  RUNNEL_TRY(const auto page, page_of(call.request));
  RUNNEL_TRY(auto found, visible(call, page, page.limit + 1));
  const bool more = found.size() > page.limit;
  found.resize(std::min(found.size(), page.limit));
  std::string body = R"({"operations":[)";
  for (const auto& each : found) {
    if (!body.ends_with('[')) body += ',';
    body += listed_operation_json(each);
  }
  auto response = json_response(200, kJson, body + "]}");
  if (more) {
    net::Query next;
    if (!page.filter.repository.empty()) next.add("repository", page.filter.repository);
    if (page.filter.status) next.add("status", std::string(status_name(*page.filter.status)));
    next.add("n", std::to_string(page.limit));
    next.add("before", std::to_string(found.back().position));
    response.headers.add("Link", fmt::format("<{}?{}>; rel=\"next\"", kListing, next.text()));
  }
  return response;
}

const meta::ArtifactTypes& streaming_types() {
  static const meta::ArtifactTypes types = {std::string(oci::kStreamingArtifactHere),
                                            std::string(oci::kStreamingArtifactElsewhere)};
  return types;
}

bool is_streaming_type(const std::string& type) {
  return std::ranges::find(streaming_types(), type) != streaming_types().end();
}

Result<std::vector<oci::Digest>> artifacts_of(const Call& call, const oci::Digest& subject,
                                              size_t limit) {
  RUNNEL_TRY(const auto found,
             call.services.metadata.referrers(call.target.repository, subject, streaming_types(),
                                              std::numeric_limits<int64_t>::max(), limit));
  std::vector<oci::Digest> digests;
  digests.reserve(found.size());
  for (const auto& each : found) digests.push_back(each.digest);
  return digests;
}

// Every image that a tag points to, once.
std::expected<std::set<oci::Digest>, Refusal> tagged_images(const Call& call) {
  auto& metadata = call.services.metadata;
  const auto& repository = call.target.repository;
  std::set<oci::Digest> images;
  std::string after;
  while (true) {
    RUNNEL_TRY(const auto tags, metadata.tags(repository, after, kMaxPage));
    if (!tags) return std::unexpected(no_such_repository(repository));
    for (const auto& tag : *tags) {
      after = tag;
      RUNNEL_TRY(const auto info, metadata.manifest_info(repository, tag));
      if (info) images.insert(info->digest);
    }
    if (tags->size() < kMaxPage) return images;
    if (images.size() > kMaxBulk)
      return refuse(
          400, "UNSUPPORTED",
          fmt::format("{} has more than {} images: ask for them one by one", repository, kMaxBulk));
  }
}

Answer convert_all(const Call& call) {
  RUNNEL_DO(check_push(call, no_such_repository(call.target.repository)));
  RUNNEL_TRY(const auto images, tagged_images(call));
  json::array operations;
  size_t skipped = 0;
  for (const auto& digest : images) {
    RUNNEL_TRY(const auto artifacts, artifacts_of(call, digest, 1));
    if (!artifacts.empty()) {
      ++skipped;
      continue;
    }
    RUNNEL_TRY(const auto enqueued,
               call.conversions.request({.repository = call.target.repository,
                                         .digest = digest,
                                         .priority = meta::OperationPriority::kPerson,
                                         .principal = call.caller.id()}));
    json::object one;
    one["id"] = enqueued.operation.id;
    one["digest"] = digest.to_string();
    one["status"] = status_name(enqueued.operation.status);
    operations.push_back(std::move(one));
  }
  json::object body;
  body["operations"] = std::move(operations);
  body["skipped"] = skipped;
  return answer(202, body);
}

// Those of an index hang on its images, too.
std::expected<std::vector<oci::Digest>, Refusal> artifacts_to_delete(const Call& call,
                                                                     const oci::Digest& digest) {
  auto& metadata = call.services.metadata;
  const auto& repository = call.target.repository;
  RUNNEL_TRY(const auto stored, metadata.manifest(repository, digest));
  if (!stored)
    return refuse(404, "MANIFEST_UNKNOWN",
                  fmt::format("{} has no manifest {}", repository, digest));
  RUNNEL_TRY(const auto document,
             oci::parse_document(as_bytes(stored->bytes), stored->info.media_type));
  if (const auto* manifest = std::get_if<oci::Manifest>(&document))
    if (is_streaming_type(manifest->effective_artifact_type())) return std::vector{digest};
  RUNNEL_TRY(auto found, artifacts_of(call, digest, kMaxArtifacts));
  if (const auto* index = std::get_if<oci::Index>(&document))
    for (const auto& child : index->manifests) {
      RUNNEL_TRY(const auto more, artifacts_of(call, child.digest, kMaxArtifacts));
      found.insert(found.end(), more.begin(), more.end());
    }
  return found;
}

Answer delete_artifact(const Call& call) {
  RUNNEL_DO(check(call, Action::kContentDelete, no_such_repository(call.target.repository)));
  if (!call.services.config.deletion)
    return refuse(405, "UNSUPPORTED", "deletion is switched off in this registry's configuration");
  RUNNEL_TRY(const auto digest, digest_of(call.target.rest));
  RUNNEL_TRY(const auto artifacts, artifacts_to_delete(call, digest));
  json::array deleted;
  for (const auto& each : artifacts) {
    Route route{.kind = Route::Kind::kManifest,
                .repository = call.target.repository,
                .target = each.to_string()};
    RUNNEL_DO(check_attributes(call.services.metadata, Attribute::kDelete, route));
    RUNNEL_TRY(const bool existed, call.services.metadata.delete_manifest(
                                       call.target.repository, each, call.services.config.undo()));
    if (existed) deleted.push_back(json::string(each.to_string()));
  }
  if (deleted.empty())
    return refuse(404, "MANIFEST_UNKNOWN", fmt::format("{} has no streaming artifact", digest));
  json::object body;
  body["deleted"] = std::move(deleted);
  return answer(202, body);
}

// Teleport's question: are the layers expanded?
Answer show_mount(const Call& call) {
  const auto& repository = call.target.repository;
  RUNNEL_DO(check(call, Action::kContentRead, no_such_repository(repository)));
  RUNNEL_TRY(const auto digest, digest_of(call.target.rest));
  RUNNEL_TRY(const auto enabled, teleport_enabled(call.services.metadata, repository));
  if (!enabled.value_or(false))
    return refuse(404, "UNSUPPORTED", fmt::format("teleportEnabled is false on {}", repository));
  RUNNEL_TRY(const auto artifacts, artifacts_of(call, digest, 1));
  json::object body;
  body["digest"] = digest.to_string();
  body["status"] = artifacts.empty() ? "Expanding" : "Ready";
  if (!artifacts.empty()) return answer(200, body);
  RUNNEL_TRY(const auto last, call.queue().last_operation(repository, digest));
  if (last && is_ongoing(last->status)) return answer(409, body);
  // Who asks again and again should not do so for ever.
  return refuse(404, "MANIFEST_UNKNOWN",
                last ? fmt::format("{} is not expanded: its conversion is {}", digest,
                                   status_name(last->status))
                     : fmt::format("{} is not expanded: push it again", digest));
}

Answer show_keys(const Call& call) {
  json::object key;
  key["id"] = call.conversions.key().id();
  key["algorithm"] = "ed25519";
  key["publicKey"] = call.conversions.key().public_pem();
  json::object body;
  body["keys"] = json::array{std::move(key)};
  return answer(200, body);
}

Answer answer(const Call& call) {
  const bool get = call.request.method == "GET";
  const bool post = call.request.method == "POST";
  switch (call.target.kind) {
    case Kind::kSwitch:
      if (get) return show_switch(call);
      if (post) return change_switch(call);
      break;
    case Kind::kImage:
      if (get) return show_image(call);
      if (post) return convert_image(call);
      break;
    case Kind::kOperation:
      if (get) return show_operation(call);
      break;
    case Kind::kCancel:
      if (post) return cancel_operation(call);
      break;
    case Kind::kListing:
      if (get) return list_operations(call);
      break;
    case Kind::kBulk:
      if (post) return convert_all(call);
      break;
    case Kind::kArtifact:
      if (call.request.method == "DELETE") return delete_artifact(call);
      break;
    case Kind::kKeys:
      if (get) return show_keys(call);
      break;
    case Kind::kMount:
      if (get) return show_mount(call);
      break;
  }
  return refuse(405, "UNSUPPORTED",
                fmt::format("{} is not possible here", quote(call.request.method)));
}

// What clients of this API look for in every answer.
void add_common_headers(net::Headers& headers) {
  headers.add("X-Ms-Correlation-Request-Id", meta::random_operation_id());
  headers.add("Access-Control-Expose-Headers",
              "Docker-Content-Digest, WWW-Authenticate, Link, X-Ms-Correlation-Request-Id");
}

}  // namespace

bool is_streaming(const net::Request& request) {
  return parse_target(request.path).has_value();
}

net::awaitable<Answer> handle_streaming(Services& services, net::Request& request,
                                        net::RequestBody& body) {
  if (services.conversions == nullptr)
    co_return refuse(404, "UNSUPPORTED",
                     "conversion is switched off in this registry's configuration");
  const auto target = parse_target(request.path);
  auto caller = Caller::anyone();
  if (services.gate != nullptr && target->kind != Kind::kKeys) {
    auto identified = co_await services.gate->identify(request);
    if (!identified) co_return std::unexpected(identified.error());
    caller = *std::move(identified);
  }
  request.principal = caller.id();
  const auto bytes = co_await read_whole(body, kMaxBody);
  if (!bytes) co_return std::unexpected(Refusal(bytes.error()));
  auto work = [&] {
    return answer({services, *services.conversions, caller, request, *target, *bytes});
  };
  auto answered = co_await net::on_pool(services.writers, std::move(work));
  add_common_headers(answered ? answered->headers : answered.error().headers);
  co_return answered;
}

}  // namespace runnel::registry
