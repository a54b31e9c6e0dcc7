// The three lists of the API, each in pages with a Link to the next one.
#include <boost/json.hpp>
#include <charconv>

#include "base/quote.h"
#include "oci/media_types.h"
#include "registry/attributes.h"
#include "registry/blob_api.h"
#include "registry/manifest_api.h"
#include "registry/referrers.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

// What "?n=" can ask for at most, and what is given without it: a page of tags is then at most
// 1.3 MB, and clients follow the Link.
constexpr size_t kMaxPage = 10'000;

template <class Integer>
std::optional<Integer> number(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "?n=", cut to kMaxPage however large it is.
std::expected<size_t, Refusal> page_size(const net::Request& request) {
  const auto text = request.query.first("n");
  if (!text || text->empty()) return kMaxPage;
  if (text->find_first_not_of("0123456789") != std::string_view::npos)
    return refuse(400, "PAGINATION_NUMBER_INVALID",
                  fmt::format("n={} is not a number", quote(*text)));
  return std::min<uint64_t>(number<uint64_t>(*text).value_or(kMaxPage), kMaxPage);
}

// The answer with a page of `names`, of which there is one more than `limit` if there is a next
// page.
net::Response names_response(json::object body, std::string_view member, std::string_view path,
                             std::vector<std::string> names, size_t limit) {
  const bool more = limit > 0 && names.size() > limit;
  names.resize(std::min(names.size(), limit));
  body[member] = json::array(names.begin(), names.end());
  auto response = json_response(200, "application/json", json::serialize(body));
  if (more) {
    add_link(response, path, after(names.back(), limit));
  }
  return response;
}

// `count` tags after `last` that are listed, or as many as there are; empty for an unknown
// repository.
Result<std::optional<std::vector<std::string>>> listed_tags(meta::MetadataStore& metadata,
                                                            std::string_view repository,
                                                            std::string last, size_t count) {
  std::vector<std::string> listed;
  do {
    RUNNEL_TRY(auto tags, metadata.tags(repository, last, count));
    if (!tags) return std::nullopt;
    if (tags->empty()) break;
    RUNNEL_TRY(const auto attributes,
               RepositoryAttributes::load_between(metadata, repository, last, tags->back()));
    if (attributes.all().empty() && listed.empty()) return tags;
    if (!attributes.own().has(Attribute::kList)) break;
    last = tags->back();
    for (auto& tag : *tags)
      if (listed.size() < count && attributes.has(Attribute::kList, tag))
        listed.push_back(std::move(tag));
  } while (listed.size() < count);
  return listed;
}

Result<bool> is_listed(meta::MetadataStore& metadata, std::string_view repository) {
  RUNNEL_TRY(const auto attributes, attributes_of(metadata, repository, "*"));
  return attributes.has(Attribute::kList);
}

// Adds the repositories after `last` that the pattern means, until there are `count`.
Result<void> add_matching(meta::MetadataStore& metadata, std::string_view pattern, std::string last,
                          size_t count, std::vector<std::string>& found) {
  const auto name = pattern.substr(0, pattern.find('*'));
  // Others come behind it.
  if (!name.empty() && last < name) {
    RUNNEL_TRY(const bool exists, metadata.repository_exists(name));
    RUNNEL_TRY(const bool listed, is_listed(metadata, name));
    if (exists && listed) found.emplace_back(name);
    last = name;
  }
  if (name == pattern) return {};
  while (found.size() < count) {
    RUNNEL_TRY(auto names, metadata.repositories(last, count));
    for (auto& each : names) {
      if (found.size() == count || !each.starts_with(name)) return {};
      last = each;
      RUNNEL_TRY(const bool listed, is_listed(metadata, each));
      if (listed) found.push_back(std::move(each));
    }
    if (names.size() < count) return {};
  }
  return {};
}

// `count` repositories after `last` that the caller may see, or as many as there are. No others are
// looked at, of which there may be very many.
Result<std::vector<std::string>> visible_repositories(meta::MetadataStore& metadata,
                                                      const Caller& caller, const std::string& last,
                                                      size_t count) {
  std::vector<std::string> found;
  for (const auto& pattern : caller.patterns(access::Action::kMetadataRead)) {
    if (found.size() == count) break;
    RUNNEL_DO(add_matching(metadata, pattern, last, count, found));
  }
  return found;
}

}  // namespace

Answer list_tags(Services& services, const Route& route, const net::Request& request) {
  RUNNEL_TRY(const size_t limit, page_size(request));
  const auto last = request.query.first("last").value_or("");
  RUNNEL_TRY(auto tags, listed_tags(services.metadata, route.key(), std::string(last), limit + 1));
  if (!tags)
    return refuse(404, "NAME_UNKNOWN", fmt::format("there is no repository {}", route.repository));
  json::object body;
  body["name"] = route.repository;
  return names_response(std::move(body), "tags", fmt::format("/v2/{}/tags/list", route.repository),
                        *std::move(tags), limit);
}

Answer list_repositories(Services& services, const Caller& caller, const net::Request& request) {
  RUNNEL_TRY(const size_t limit, page_size(request));
  const auto last = request.query.first("last").value_or("");
  RUNNEL_TRY(auto names,
             visible_repositories(services.metadata, caller, std::string(last), limit + 1));
  return names_response({}, "repositories", "/v2/_catalog", std::move(names), limit);
}

Answer list_referrers(Services& services, const Route& route, const net::Request& request) {
  RUNNEL_TRY(const auto subject, digest_of(route.target));
  meta::ArtifactTypes types;
  for (const auto type : request.query.all("artifactType")) {
    if (type.empty()) continue;
    // A media type has no spaces: this one was a '+' that the client did not encode.
    std::ranges::replace(types.emplace_back(type), ' ', '+');
  }
  std::optional<int64_t> before;
  if (const auto text = request.query.first("before")) {
    before = number<int64_t>(*text);
    if (!before)
      return refuse(400, "UNSUPPORTED", fmt::format("before={} is not a number", quote(*text)));
  }
  auto& metadata = services.metadata;
  RUNNEL_TRY(const bool any, any_digest_has_attributes(metadata, route.key()));
  const auto is_listed = [&](std::string_view digest) -> Result<bool> {
    if (!any) return true;
    RUNNEL_TRY(const auto found, attributes_of(metadata, route.key(), digest));
    return found.has(Attribute::kList);
  };
  RUNNEL_TRY(auto page, referrers_page(metadata, route.key(), subject, types, before, is_listed));
  auto response = json_response(200, oci::kOciIndex, std::move(page.index));
  if (!types.empty()) response.headers.add("OCI-Filters-Applied", "artifactType");
  if (page.next) {
    net::Query next;
    for (const auto& type : types) next.add("artifactType", type);
    next.add("before", std::to_string(*page.next));
    add_link(response, fmt::format("/v2/{}/referrers/{}", route.repository, subject), next);
  }
  return response;
}

}  // namespace runnel::registry
