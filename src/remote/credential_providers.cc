#include "remote/credential_providers.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/fd.h"

namespace runnel::remote {

namespace {

namespace json = boost::json;

constexpr uint64_t kMaxConfig = 1 << 20;
constexpr size_t kManyAnswers = 1024;
constexpr auto kAskAgainAfter = std::chrono::seconds(10);

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::string question_of(const CredentialProvider& provider, const std::string& image) {
  return json::serialize(json::object{{"kind", "CredentialProviderRequest"},
                                      {"apiVersion", provider.api_version},
                                      {"image", image}});
}

Result<json::object> response_of(const CredentialProvider& provider, const std::string& output) {
  boost::system::error_code broken;
  auto value = json::parse(output, broken);
  if (broken || !value.is_object()) return fail(Code::kInvalid, "its answer is not a JSON object");
  auto& object = value.get_object();
  if (text_of(object, "kind") != "CredentialProviderResponse" ||
      text_of(object, "apiVersion") != provider.api_version)
    return fail(Code::kInvalid, "its answer is not a CredentialProviderResponse of {}",
                provider.api_version);
  return std::move(object);
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

// Of the patterns that cover the image, the longest: the most exact one.
std::optional<Credential> best_of(const std::map<std::string, Credential>& auth,
                                  const std::string& image) {
  const std::pair<const std::string, Credential>* best = nullptr;
  for (const auto& entry : auth) {
    const bool longer = best == nullptr || entry.first.size() > best->first.size();
    if (longer && matches_image(entry.first, image)) best = &entry;
  }
  return best == nullptr ? std::nullopt : std::optional(best->second);
}

}  // namespace

CredentialProviders::CredentialProviders(std::string config, std::string directory,
                                         const Clock& clock, ProgramLimits limits)
    : config_(std::move(config)),
      directory_(std::move(directory)),
      clock_(clock),
      limits_(limits) {}

Result<std::optional<Credential>> CredentialProviders::find(std::string_view host,
                                                            std::string_view repository) {
  RUNNEL_TRY(const Buffer bytes, read_file(config_, kMaxConfig));
  RUNNEL_TRY(const auto providers, parse_provider_config(std::string(as_text(bytes)), config_));
  const auto image = fmt::format("{}/{}", host, repository);
  std::optional<Error> failed;
  for (const auto& provider : providers) {
    const bool concerned = std::ranges::any_of(
        provider.match_images, [&](const auto& pattern) { return matches_image(pattern, image); });
    if (!concerned) continue;
    const auto answer = answer_of(provider, image, host);
    if (!answer && !failed) failed = answer.error().in("credential provider " + provider.name);
    if (!answer) continue;
    if (auto credential = best_of((*answer)->auth, image)) return credential;
  }
  if (failed) return std::unexpected(*std::move(failed));
  return std::nullopt;
}

Result<std::shared_ptr<const CredentialProviders::Answer>> CredentialProviders::answer_of(
    const CredentialProvider& provider, const std::string& image, std::string_view host) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& scope : {image, std::string(host), std::string()}) {
      const auto found = answers_.find({provider.name, scope});
      if (found != answers_.end() && clock_.now() < found->second->until) return found->second;
    }
  }
  return ask(provider, image, host);
}

Result<std::shared_ptr<const CredentialProviders::Answer>> CredentialProviders::ask(
    const CredentialProvider& provider, const std::string& image, std::string_view host) {
  const ProgramCall call{.program = directory_ + "/" + provider.name,
                         .arguments = provider.arguments,
                         .environment = provider.environment,
                         .question = question_of(provider, image)};
  RUNNEL_TRY(const auto outcome, run_program(call, limits_));
  RUNNEL_DO(check_ended_well(outcome));
  RUNNEL_TRY(const auto response, response_of(provider, outcome.output));

  auto answer = std::make_shared<Answer>();
  answer->auth = auth_of(response);
  Duration life = provider.cache_duration;
  if (const auto text = text_of(response, "cacheDuration"); !text.empty()) {
    RUNNEL_TRY(life, parse_go_duration(text));
  }
  answer->asked = clock_.now();
  answer->until = answer->asked + life;
  const auto type = text_of(response, "cacheKeyType");
  const auto scope = type == "Global" ? "" : type == "Registry" ? std::string(host) : image;
  const std::lock_guard lock(mutex_);
  if (answers_.size() > kManyAnswers) answers_.clear();
  answers_.insert_or_assign({provider.name, scope}, answer);
  return answer;
}

bool CredentialProviders::refused(std::string_view, std::string_view,
                                  const Credential& credential) {
  const SteadyTime now = clock_.now();
  const std::lock_guard lock(mutex_);
  return std::erase_if(answers_, [&](const auto& entry) {
           const auto& [scope, answer] = entry;
           const bool has_it = std::ranges::any_of(
               answer->auth, [&](const auto& each) { return each.second == credential; });
           return has_it && now - answer->asked >= kAskAgainAfter;
         }) > 0;
}

}  // namespace runnel::remote
