#include "registry/tag_list_api.h"

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
constexpr std::string_view kEnd = "/_tags";

json::object changeable(const Attributes& attributes) {
  json::object out;
  for (const auto each :
       {Attribute::kDelete, Attribute::kWrite, Attribute::kRead, Attribute::kList})
    out[attribute_name(each)] = attributes.has(each);
  return out;
}

// Those of `tags` that a list shows. One that was taken away meanwhile is left out.
Result<json::array> describe(meta::MetadataStore& metadata, std::string_view repository,
                             const std::vector<std::string>& tags) {
  json::array listed;
  RUNNEL_TRY(const auto whole, attributes_of(metadata, repository, "*"));
  if (!whole.has(Attribute::kList)) return listed;
  for (const auto& tag : tags) {
    RUNNEL_TRY(const auto attributes, attributes_of(metadata, repository, tag));
    RUNNEL_TRY(const auto info, metadata.manifest_info(repository, tag));
    if (!info || !attributes.has(Attribute::kList)) continue;
    json::object one;
    one["name"] = tag;
    one["digest"] = info->digest.to_string();
    one["signed"] = false;
    one["changeableAttributes"] = changeable(attributes);
    listed.push_back(std::move(one));
  }
  return listed;
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
  if (!request.query.first("orderby").value_or("").empty())
    return refuse(400, "UNSUPPORTED", "tags are listed in the order of their names only");
  RUNNEL_TRY(const size_t limit, page_size(request));
  const auto last = request.query.first("last").value_or("");
  auto& metadata = services.metadata;
  RUNNEL_TRY(auto page, metadata.tags(repository, last, limit + 1));
  if (!page) return std::unexpected(absent);
  const bool more = page->size() > limit;
  page->resize(std::min(page->size(), limit));
  json::object body;
  body["registry"] = public_host(services.config, request);
  body["imageName"] = repository;
  RUNNEL_TRY(body["tags"], describe(metadata, repository, *page));
  auto response = json_response(200, "application/json", json::serialize(body));
  if (more) {
    add_link(response, request.path, after(page->back(), limit));
  }
  return response;
}

}  // namespace

bool is_tag_list(const net::Request& request) {
  const std::string_view path = request.path;
  return request.method == "GET" && path.starts_with(kRoot) && path.ends_with(kEnd) &&
         path.size() > kRoot.size() + kEnd.size();
}

net::awaitable<Answer> handle_tag_list(Services& services, net::Request& request) {
  const auto caller = co_await identify(services.gate, request);
  if (!caller) co_return std::unexpected(caller.error());
  auto work = [&] { return list(services, *caller, request); };
  co_return co_await net::on_pool(services.readers, std::move(work));
}

}  // namespace runnel::registry
