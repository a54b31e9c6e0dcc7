#include "remote/provider_answer.h"

#include <boost/json.hpp>

namespace runnel::remote {

namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::map<std::string, Credential> auth_of(const json::object& response) {
  std::map<std::string, Credential> out;
  const auto* value = response.if_contains("auth");
  const auto* auth = value == nullptr ? nullptr : value->if_object();
  if (auth == nullptr) return out;
  for (const auto& [pattern, entry] : *auth) {
    if (!entry.is_object()) continue;
    Credential credential;
    credential.user = text_of(entry.get_object(), "username");
    credential.secret = Secret(text_of(entry.get_object(), "password"));
    if (!credential.secret.empty()) out.emplace(pattern, std::move(credential));
  }
  return out;
}

ProviderAnswer::GoodFor good_for(std::string_view cache_key_type) {
  if (cache_key_type == "Global") return ProviderAnswer::GoodFor::kEverything;
  if (cache_key_type == "Registry") return ProviderAnswer::GoodFor::kHost;
  return ProviderAnswer::GoodFor::kImage;
}

}  // namespace

std::optional<Credential> ProviderAnswer::find(std::string_view image) const {
  const std::pair<const std::string, Credential>* best = nullptr;
  for (const auto& entry : auth) {
    const bool longer = best == nullptr || entry.first.size() > best->first.size();
    if (longer && matches_image(entry.first, image)) best = &entry;
  }
  return best == nullptr ? std::nullopt : std::optional(best->second);
}

Result<ProviderAnswer> parse_provider_answer(std::string_view output,
                                             const CredentialProvider& provider) {
  boost::system::error_code broken;
  const auto value = json::parse(output, broken);
  if (broken || !value.is_object()) return fail(Code::kInvalid, "its answer is not a JSON object");
  const auto& response = value.get_object();
  if (text_of(response, "kind") != "CredentialProviderResponse" ||
      text_of(response, "apiVersion") != provider.api_version)
    return fail(Code::kInvalid, "its answer is not a CredentialProviderResponse of {}",
                provider.api_version);
  ProviderAnswer answer{.auth = auth_of(response),
                        .life = provider.cache_duration,
                        .good_for = good_for(text_of(response, "cacheKeyType"))};
  if (const auto text = text_of(response, "cacheDuration"); !text.empty()) {
    RUNNEL_TRY(answer.life, parse_go_duration(text));
  }
  return answer;
}

}  // namespace runnel::remote
