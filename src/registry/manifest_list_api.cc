#include "registry/manifest_list_api.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/quote.h"
#include "oci/reference.h"
#include "registry/attributes.h"
#include "registry/authorize.h"
#include "registry/page_size.h"
#include "registry/public_name.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

using access::Action;

constexpr std::string_view kRoot = "/acr/v1/";
constexpr std::string_view kEnd = "/_manifests";

std::expected<oci::Digest, Refusal> last_seen(const net::Request& request) {
  const auto text = request.query.first("last").value_or("");
  if (text.empty()) return oci::Digest();
  auto digest = oci::Digest::parse(text);
  if (!digest) return refuse(400, "DIGEST_INVALID", "last: " + digest.error().message);
  return *std::move(digest);
}

json::object to_json(const meta::ListedManifest& listed, const Attributes& attributes) {
  json::object changeable;
  for (const auto each :
       {Attribute::kDelete, Attribute::kWrite, Attribute::kRead, Attribute::kList})
    changeable[attribute_name(each)] = attributes.has(each);
  json::object out;
  out["digest"] = listed.info.digest.to_string();
  out["imageSize"] = listed.info.size;
  out["mediaType"] = listed.info.media_type;
  out["tags"] = json::array(listed.tags.begin(), listed.tags.end());
  out["changeableAttributes"] = std::move(changeable);
  return out;
}

// Tags that no list shows are not shown here either.
Result<void> hide_tags(meta::MetadataStore& metadata, std::string_view repository,
                       std::vector<std::string>& tags) {
  std::vector<std::string> shown;
  for (auto& tag : tags) {
    RUNNEL_TRY(const auto attributes, attributes_of(metadata, repository, tag));
    if (attributes.has(Attribute::kList)) shown.push_back(std::move(tag));
  }
  tags = std::move(shown);
  return {};
}

Answer list(Services& services, const Caller& caller, const net::Request& request) {
  const auto repository =
      std::string_view(request.path)
          .substr(kRoot.size(), request.path.size() - kRoot.size() - kEnd.size());
  if (!oci::is_valid_repository(repository))
    return refuse(400, "NAME_INVALID",
                  fmt::format("{} is not a repository's name", quote(repository)));
  const Refusal absent(404, "NAME_UNKNOWN", fmt::format("there is no repository {}", repository));
  const Deed deed{
      .action = Action::kMetadataRead, .repository = repository, .seeing = Action::kMetadataRead};
  RUNNEL_DO(authorize_deed(services.gate, caller, deed, request, absent));
  auto& metadata = services.metadata;
  RUNNEL_TRY(const bool exists, metadata.repository_exists(repository));
  if (!exists) return std::unexpected(absent);
  RUNNEL_TRY(const size_t limit, page_size(request));
  RUNNEL_TRY(const auto last, last_seen(request));
  RUNNEL_TRY(auto page, metadata.manifests(repository, last, limit + 1));
  const bool more = page.size() > limit;
  page.resize(std::min(page.size(), limit));
  RUNNEL_TRY(const auto whole, attributes_of(metadata, repository, "*"));
  json::array listed;
  for (auto& each : page) {
    RUNNEL_TRY(const auto attributes,
               attributes_of(metadata, repository, each.info.digest.to_string()));
    if (!whole.has(Attribute::kList) || !attributes.has(Attribute::kList)) continue;
    RUNNEL_DO(hide_tags(metadata, repository, each.tags));
    listed.push_back(to_json(each, attributes));
  }
  json::object body;
  body["registry"] = public_host(services.config, request);
  body["imageName"] = repository;
  body["manifests"] = std::move(listed);
  auto response = json_response(200, "application/json", json::serialize(body));
  if (more) {
    add_link(response, request.path, after(page.back().info.digest.to_string(), limit));
  }
  return response;
}

}  // namespace

bool is_manifest_list(const net::Request& request) {
  const std::string_view path = request.path;
  return request.method == "GET" && path.starts_with(kRoot) && path.ends_with(kEnd) &&
         path.size() > kRoot.size() + kEnd.size();
}

net::awaitable<Answer> handle_manifest_list(Services& services, net::Request& request) {
  const auto caller = co_await identify(services.gate, request);
  if (!caller) co_return std::unexpected(caller.error());
  auto work = [&] { return list(services, *caller, request); };
  co_return co_await net::on_pool(services.readers, std::move(work));
}

}  // namespace runnel::registry
