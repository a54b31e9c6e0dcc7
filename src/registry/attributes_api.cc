#include "registry/attributes_api.h"

#include <boost/json.hpp>

#include "base/quote.h"
#include "oci/reference.h"
#include "registry/attributes.h"
#include "registry/authorize.h"
#include "registry/blob_api.h"
#include "registry/public_name.h"
#include "registry/request_body.h"
#include "registry/teleport.h"

namespace runnel::registry {

namespace json = boost::json;

using access::Action;

namespace {

constexpr std::string_view kRoot = "/acr/v1/";
constexpr std::string_view kTags = "/_tags/";
constexpr std::string_view kManifests = "/_manifests/";
constexpr std::string_view kTeleport = "teleportEnabled";
constexpr size_t kMaxBody = 64 * 1024;

struct Target {
  std::string repository;
  std::string reference = "*";  // a tag or a digest; "*" for the repository
  std::string digest;           // of what a tag points to
};

std::expected<Target, Refusal> parse_target(std::string_view path) {
  path.remove_prefix(kRoot.size());
  Target target;
  for (const auto part : {kTags, kManifests}) {
    const auto at = path.rfind(part);
    if (at == std::string_view::npos) continue;
    target.reference = path.substr(at + part.size());
    path = path.substr(0, at);
    if (part == kManifests) {
      RUNNEL_TRY(const auto digest, digest_of(target.reference));
      target.reference = digest.to_string();
    } else if (!oci::is_valid_tag(target.reference)) {
      return refuse(400, "TAG_INVALID", fmt::format("{} is not a tag", quote(target.reference)));
    }
    break;
  }
  target.repository = path;
  if (!oci::is_valid_repository(path))
    return refuse(400, "NAME_INVALID", fmt::format("{} is not a repository's name", quote(path)));
  return target;
}

Refusal absent(const Target& target) {
  if (target.reference == "*")
    return {404, "NAME_UNKNOWN", fmt::format("there is no repository {}", target.repository)};
  return {404, "MANIFEST_UNKNOWN",
          fmt::format("{} has no manifest {}", target.repository, target.reference)};
}

std::expected<void, Refusal> may(const Services& services, const Caller& caller, Action action,
                                 const Target& target, const net::Request& request) {
  const Deed deed{
      .action = action, .repository = target.repository, .seeing = Action::kMetadataRead};
  return authorize_deed(services.gate, caller, deed, request, absent(target));
}

std::expected<void, Refusal> check_exists(meta::MetadataStore& metadata, Target& target) {
  if (target.reference == "*") {
    RUNNEL_TRY(const bool exists, metadata.repository_exists(target.repository));
    if (!exists) return std::unexpected(absent(target));
    return {};
  }
  meta::ManifestName name = target.reference;
  if (const auto digest = oci::Digest::parse(target.reference)) name = *digest;
  RUNNEL_TRY(const auto info, metadata.manifest_info(target.repository, name));
  if (!info) return std::unexpected(absent(target));
  target.digest = info->digest.to_string();
  return {};
}

std::expected<json::object, Refusal> body_object(Bytes body) {
  json::error_code failed;
  auto value = json::parse(as_text(body), failed);
  if (failed || !value.is_object())
    return refuse(400, "UNSUPPORTED", "the body is not a JSON object");
  return std::move(value.get_object());
}

// Teleport's switch, of repositories only, which stands apart from the others.
std::expected<std::optional<bool>, Refusal> teleport_of(const Target& target,
                                                        const json::object& body) {
  const auto* found = body.if_contains(kTeleport);
  if (found == nullptr) return std::nullopt;
  if (target.reference != "*")
    return refuse(400, "UNSUPPORTED", "\"teleportEnabled\" is a repository's");
  if (!found->is_bool()) return refuse(400, "UNSUPPORTED", "\"teleportEnabled\" is true or false");
  return found->get_bool();
}

std::expected<void, Refusal> change(Attributes& attributes, const json::object& body) {
  for (const auto& [key, wanted] : body) {
    bool known = key == kTeleport;
    for (const auto each :
         {Attribute::kRead, Attribute::kWrite, Attribute::kDelete, Attribute::kList}) {
      if (key != attribute_name(each)) continue;
      if (!wanted.is_bool())
        return refuse(400, "UNSUPPORTED",
                      fmt::format("\"{}\" is true or false", attribute_name(each)));
      attributes.set(each, wanted.get_bool());
      known = true;
    }
    if (!known)
      return refuse(
          400, "UNSUPPORTED",
          fmt::format("{} cannot be changed: readEnabled, writeEnabled, deleteEnabled and "
                      "listEnabled can",
                      quote(std::string_view(key))));
  }
  return {};
}

net::Response describe(const Target& target, const Attributes& attributes,
                       const std::optional<bool>& teleport, const std::string& registry) {
  json::object changeable;
  for (const auto each :
       {Attribute::kDelete, Attribute::kWrite, Attribute::kRead, Attribute::kList})
    changeable[attribute_name(each)] = attributes.has(each);
  if (teleport) changeable[kTeleport] = *teleport;
  json::object body;
  body["registry"] = registry;
  body["imageName"] = target.repository;
  if (target.reference == "*") {
    body["changeableAttributes"] = std::move(changeable);
  } else {
    json::object one;
    const bool manifest = target.reference == target.digest;
    if (!manifest) one["name"] = target.reference;
    one["digest"] = target.digest;
    one["changeableAttributes"] = std::move(changeable);
    body[manifest ? "manifest" : "tag"] = std::move(one);
  }
  return json_response(200, "application/json", json::serialize(body));
}

// Whose pushes are expanded is for those to say who push.
std::expected<void, Refusal> may_change(const Services& services, const Caller& caller,
                                        const Target& target, const json::object& body,
                                        const net::Request& request) {
  const bool teleport = body.if_contains(kTeleport) != nullptr;
  if (teleport) RUNNEL_DO(may(services, caller, Action::kContentWrite, target, request));
  if (teleport && body.size() == 1) return {};
  return may(services, caller, Action::kMetadataWrite, target, request);
}

std::expected<Attributes, Refusal> change_all(const Services& services, const Target& target,
                                              const json::object& body, Attributes attributes) {
  auto& metadata = services.metadata;
  RUNNEL_TRY(const auto teleport, teleport_of(target, body));
  const auto wanted = [&](Attributes& each) { return change(each, body); };
  if (!teleport || body.size() > 1) {
    RUNNEL_TRY(attributes,
               change_attributes(metadata, target.repository, target.reference, wanted));
  }
  if (teleport)
    RUNNEL_DO(set_teleport(metadata, target.repository, *teleport, services.config.teleport));
  return attributes;
}

Answer answer(Services& services, const Caller& caller, const net::Request& request, Bytes bytes) {
  auto& metadata = services.metadata;
  RUNNEL_TRY(auto target, parse_target(request.path));
  const bool changes = request.method == "PATCH";
  json::object body;
  if (changes) {
    auto parsed = body_object(bytes);
    // Who may not change it is told that first.
    RUNNEL_DO(may_change(services, caller, target, parsed.value_or(json::object()), request));
    RUNNEL_DO(check_exists(metadata, target));
    if (!parsed) return std::unexpected(parsed.error());
    body = *std::move(parsed);
  } else {
    RUNNEL_DO(may(services, caller, Action::kMetadataRead, target, request));
    RUNNEL_DO(check_exists(metadata, target));
  }
  RUNNEL_TRY(auto attributes, attributes_of(metadata, target.repository, target.reference));
  if (changes) {
    RUNNEL_TRY(attributes, change_all(services, target, body, attributes));
  }
  std::optional<bool> teleport;
  if (target.reference == "*") {
    RUNNEL_TRY(teleport, teleport_enabled(metadata, target.repository));
  }
  return describe(target, attributes, teleport, public_host(services.config, request));
}

}  // namespace

bool is_attributes(const net::Request& request) {
  return request.path.starts_with(kRoot) &&
         (request.method == "GET" || request.method == "HEAD" || request.method == "PATCH");
}

net::awaitable<Answer> handle_attributes(Services& services, net::Request& request,
                                         net::RequestBody& body) {
  const auto caller = co_await identify(services.gate, request);
  if (!caller) co_return std::unexpected(caller.error());
  const auto bytes = co_await read_whole(body, kMaxBody);
  if (!bytes) co_return std::unexpected(Refusal(bytes.error()));
  auto work = [&] { return answer(services, *caller, request, *bytes); };
  co_return co_await net::on_pool(services.writers, std::move(work));
}

}  // namespace runnel::registry
