#include "cli/streaming_calls.h"

#include <boost/json.hpp>

#include "cli/answer.h"
#include "net/url.h"
#include "oci/media_types.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

constexpr std::string_view kAcr = "/acr/v1/";
constexpr std::string_view kOurs = "/runnel/v1/";
constexpr std::string_view kPull = "pull";
constexpr std::string_view kPush = "pull,push";
constexpr std::string_view kConversion = "conversion";

// What the API's clients send; the registry makes its own format whatever they say.
json::object conversion_body() {
  return {{"conversionFormat", "overlaybd"}, {"conversionVersion", "v1"}};
}

}  // namespace

bool is_ongoing(std::string_view status) {
  return status == "NotStarted" || status == "Running";
}

remote::ApiCall StreamingCalls::call(std::string method, std::string_view root,
                                     std::string_view rest, std::string_view actions,
                                     std::string what) const {
  remote::ApiCall out;
  out.method = std::move(method);
  out.path = fmt::format("{}{}{}", root, repository_, rest);
  out.repository = repository_;
  out.scope = repository_scope(repository_, actions);
  out.what = std::move(what);
  return out;
}

Result<oci::Digest> StreamingCalls::digest_of(const ImageName& image) const {
  if (image.digest) return *image.digest;
  RUNNEL_TRY(const auto answer, session_.call(call("GET", kAcr, "/_tags/" + image.tag,
                                                   "metadata_read", "tag " + image.tag)));
  const auto* object = answer.if_object();
  const auto* tag = object != nullptr ? object->if_contains("tag") : nullptr;
  const auto* members = tag != nullptr ? tag->if_object() : nullptr;
  return oci::Digest::parse(members != nullptr ? text_of(*members, "digest") : std::string());
}

Result<bool> StreamingCalls::has_artifact(const oci::Digest& digest) const {
  const remote::WantedReferrers artifacts{
      .artifact_types = {std::string(oci::kStreamingArtifactHere)}, .briefly = true};
  RUNNEL_TRY(const auto found, session_.repository(repository_).referrers(digest, artifacts));
  return !found.manifests.empty();
}

Result<json::value> StreamingCalls::read_switch() const {
  return session_.call(call("GET", kAcr, "/_streaming", kPull, "streaming state"));
}

Result<json::value> StreamingCalls::set_switch(std::optional<bool> convert_pushed,
                                               std::optional<unsigned> hold_tag_seconds) const {
  auto change = call("POST", kAcr, "/_streaming", kPush, "streaming state");
  auto body = conversion_body();
  if (convert_pushed) body.emplace("convertPushedImages", *convert_pushed);
  if (hold_tag_seconds) body.emplace("holdTag", *hold_tag_seconds);
  change.body = json::serialize(body);
  return session_.call(change, true);
}

Result<std::optional<BriefOperation>> StreamingCalls::last_operation(
    const oci::Digest& digest) const {
  const auto look =
      call("GET", kAcr, fmt::format("/_streaming/{}", digest), kPull, std::string(kConversion));
  RUNNEL_TRY(const auto answer, session_.send(look));
  if (answer.status == 404) return std::nullopt;
  if (!answer.ok()) return session_.refused(look, answer);
  RUNNEL_TRY(const auto parsed, parse_answer(answer));
  const auto* object = parsed.if_object();
  BriefOperation out;
  if (object != nullptr) out = {text_of(*object, "id"), text_of(*object, "status")};
  if (out.id.empty() || out.status.empty())
    return fail(Code::kInvalid, "{}: the registry's answer about {} has no id and status",
                session_.host(), digest);
  return out;
}

Result<remote::ApiAnswer> StreamingCalls::start(const oci::Digest& digest) const {
  auto ask =
      call("POST", kAcr, fmt::format("/_streaming/{}", digest), kPush, std::string(kConversion));
  ask.body = json::serialize(conversion_body());
  return session_.send(ask);
}

std::unexpected<Error> StreamingCalls::start_refused(const remote::ApiAnswer& answer) const {
  return session_.refused(call("POST", kAcr, "", kPush, std::string(kConversion)), answer);
}

Result<json::value> StreamingCalls::start_all() const {
  auto ask = call("POST", kOurs, "/_streaming", kPush, "conversion of all images");
  ask.body = json::serialize(conversion_body());
  return session_.call(ask, true);
}

Result<json::value> StreamingCalls::delete_artifacts(const oci::Digest& digest) const {
  return session_.call(call("DELETE", kOurs, fmt::format("/_artifact/{}", digest),
                            "pull,delete,metadata_read", "streaming artifact"));
}

Result<json::value> StreamingCalls::profile(const oci::Digest& digest) const {
  return session_.call(call("GET", kOurs, fmt::format("/_profiles/{}", digest), kPull, "profile"));
}

Result<json::value> StreamingCalls::operation(std::string_view id) const {
  return session_.call(call("GET", kAcr, "/_operations/" + net::percent_encode(id), kPull,
                            fmt::format("operation {}", id)));
}

Result<json::value> StreamingCalls::cancel(std::string_view id) const {
  return session_.call(call("POST", kAcr, "/_operations/" + net::percent_encode(id) + ":cancel",
                            kPush, fmt::format("operation {}", id)),
                       true);
}

}  // namespace runnel::cli
