#include "registry/profiles_api.h"

#include <boost/json.hpp>

#include "base/quote.h"
#include "oci/reference.h"
#include "registry/attributes.h"
#include "registry/authorize.h"
#include "registry/blob_api.h"
#include "registry/boot_profiles.h"
#include "registry/boot_renewal.h"
#include "registry/profile_votes.h"
#include "registry/request_body.h"
#include "registry/route.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

constexpr std::string_view kRoot = "/runnel/v1/";
constexpr std::string_view kProfiles = "/_profiles/";
constexpr size_t kMaxNodeId = 64;

std::expected<Route, Refusal> image_of(std::string_view path) {
  path.remove_prefix(kRoot.size());
  const auto at = path.rfind(kProfiles);
  const auto repository = path.substr(0, at);
  if (!oci::is_valid_repository(repository))
    return refuse(400, "NAME_INVALID",
                  fmt::format("{} is not a repository's name", quote(repository)));
  RUNNEL_TRY(const auto digest, digest_of(path.substr(at + kProfiles.size())));
  return Route{.kind = Route::Kind::kManifest,
               .repository = std::string(repository),
               .target = digest.to_string()};
}

std::unexpected<Refusal> absent(const Route& image) {
  return refuse(404, "MANIFEST_UNKNOWN",
                fmt::format("{} has no manifest {}", image.repository, image.target));
}

// Nobody knows how many of those who did not are one.
Refusal must_log_in(const Gate& gate, const Route& image, const net::Request& request) {
  const access::Scope pull(image.repository, {access::Action::kContentRead});
  return gate.unauthorized(request, to_string(pull), "", "log in to tell of starts");
}

// Whoever may read the manifest; to vote, only who has logged in.
net::awaitable<std::expected<std::string, Refusal>> let_in(Services& services, const Route& image,
                                                           net::Request& request) {
  if (services.gate == nullptr) co_return std::string();
  const auto caller = co_await services.gate->identify(request);
  if (!caller) co_return std::unexpected(caller.error());
  request.principal = caller->id();
  net::Request pull;
  pull.method = "GET";
  pull.headers = request.headers;
  pull.path = request.path;
  const auto decision = authorize(*services.gate, *caller, image, pull);
  if (!decision) co_return std::unexpected(decision.error());
  if (*decision == Decision::kHidden) co_return absent(image);
  if (*decision == Decision::kOfImages) {
    auto work = [&] {
      return check_images(*services.gate, services.image_rights, *caller, image, pull);
    };
    const auto checked = co_await net::on_pool(services.readers, std::move(work));
    if (!checked) co_return std::unexpected(checked.error());
  }
  if (request.method == "POST" && caller->is_anonymous())
    co_return std::unexpected(must_log_in(*services.gate, image, request));
  co_return caller->id();
}

std::expected<oci::Digest, Refusal> check_present(Services& services, const Route& image) {
  RUNNEL_TRY(const auto digest, digest_of(image.target));
  RUNNEL_TRY(const auto info, services.metadata.manifest_info(image.repository, digest));
  if (!info) return absent(image);
  RUNNEL_DO(check_attributes(services.metadata, Attribute::kRead, image));
  return digest;
}

std::expected<Voter, Refusal> voter_of(const net::Request& request, const std::string& principal) {
  const auto node = request.query.first("node").value_or("");
  if (node.empty() || node.size() > kMaxNodeId)
    return refuse(400, "UNSUPPORTED",
                  fmt::format("\"node\" names who tells it, with 1 to {} characters", kMaxNodeId));
  return Voter{.principal = principal, .node = std::string(node)};
}

Answer vote(Services& services, const Route& image, const net::Request& request,
            const std::string& principal, Bytes body) {
  RUNNEL_TRY(const auto voter, voter_of(request, principal));
  const auto profile = artifact::parse_profile(body);
  if (!profile) return refuse(400, "UNSUPPORTED", profile.error().message);
  RUNNEL_TRY(const auto digest, check_present(services, image));
  RUNNEL_DO(cast_vote(services.metadata, image.repository, digest, voter, *profile));
  if (services.renewal != nullptr) services.renewal->voted(image.repository, digest);
  return net::Response(204);
}

// What the hot pack of the image's newest artifact was made of.
Result<std::optional<json::object>> hot_pack(Services& services, const Route& image,
                                             const oci::Digest& digest) {
  RUNNEL_TRY(const auto artifacts, artifacts_of(services.metadata, image.repository, digest));
  const auto* newest = newest_of(artifacts);
  if (newest == nullptr) return std::nullopt;
  json::object out;
  out["artifact"] = newest->digest.to_string();
  out["generation"] = newest->artifact.generation;
  out["madeOf"] = newest->artifact.hot.empty() ? "unknown" : newest->artifact.hot;
  return out;
}

Answer show(Services& services, const Route& image, const oci::Digest& digest, const Voted& voted) {
  RUNNEL_TRY(auto pack, hot_pack(services, image, digest));
  if (voted.votes == 0)
    return refuse(
        404, "PROFILE_UNKNOWN",
        fmt::format("no node has told of a start of {}@{} yet{}", image.repository, digest,
                    pack ? fmt::format("; its hot pack is {}",
                                       std::string_view(pack->at("madeOf").get_string()))
                         : ""));
  auto shown = json::parse(artifact::to_json(voted.profile)).as_object();
  shown["votes"] = voted.votes;
  if (pack) shown["hotPack"] = *std::move(pack);
  auto response = json_response(200, "application/json", json::serialize(shown));
  response.headers.add("Cache-Control", "no-store");
  return response;
}

net::awaitable<Answer> show_profile(Services& services, const Route& image) {
  auto check = [&] { return check_present(services, image); };
  const auto digest = co_await net::on_pool(services.readers, std::move(check));
  if (!digest) co_return std::unexpected(digest.error());
  const auto voted = co_await services.merged_votes.find(image.repository, *digest);
  if (!voted) co_return std::unexpected(voted.error());
  auto work = [&] { return show(services, image, *digest, **voted); };
  co_return co_await net::on_pool(services.readers, std::move(work));
}

net::awaitable<Answer> receive_vote(Services& services, const Route& image,
                                    const net::Request& request, const std::string& principal,
                                    net::RequestBody& body) {
  const auto bytes = co_await read_whole(body, kMaxVoteBytes);
  if (!bytes && bytes.error().code == Code::kExhausted)
    co_return refuse(413, "UNSUPPORTED",
                     fmt::format("a profile has at most {} bytes", kMaxVoteBytes));
  if (!bytes)
    co_return refuse(400, "UNSUPPORTED", "the body is not complete: " + bytes.error().message);
  auto work = [&] { return vote(services, image, request, principal, *bytes); };
  co_return co_await net::on_pool(services.writers, std::move(work));
}

}  // namespace

bool is_profiles(std::string_view path) {
  const auto at = path.rfind(kProfiles);
  return path.starts_with(kRoot) && at != std::string_view::npos && at >= kRoot.size() &&
         path.find('/', at + kProfiles.size()) == std::string_view::npos;
}

net::awaitable<Answer> handle_profiles(Services& services, net::Request& request,
                                       net::RequestBody& body) {
  const auto image = image_of(request.path);
  if (!image) co_return std::unexpected(image.error());
  const auto principal = co_await let_in(services, *image, request);
  if (!principal) co_return std::unexpected(principal.error());
  if (request.method == "POST")
    co_return co_await receive_vote(services, *image, request, *principal, body);
  if (request.method == "GET") co_return co_await show_profile(services, *image);
  Refusal refusal(405, "UNSUPPORTED",
                  fmt::format("{} is not possible here", quote(request.method)));
  refusal.headers.add("Allow", "GET, POST");
  co_return std::unexpected(std::move(refusal));
}

}  // namespace runnel::registry
