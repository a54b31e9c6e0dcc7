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

std::string question_of(const CredentialProvider& provider, const std::string& image) {
  return json::serialize(json::object{{"kind", "CredentialProviderRequest"},
                                      {"apiVersion", provider.api_version},
                                      {"image", image}});
}

// What an answer is kept under (answers_).
std::string scope_of(ProviderAnswer::GoodFor good_for, const std::string& image,
                     std::string_view host) {
  switch (good_for) {
    case ProviderAnswer::GoodFor::kEverything: return {};
    case ProviderAnswer::GoodFor::kHost: return std::string(host);
    case ProviderAnswer::GoodFor::kImage: break;
  }
  return image;
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
    if (auto credential = (*answer)->said.find(image)) return credential;
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
  RUNNEL_TRY(auto said, parse_provider_answer(outcome.output, provider));

  auto answer = std::make_shared<Answer>();
  answer->asked = clock_.now();
  answer->until = answer->asked + said.life;
  answer->said = std::move(said);
  const auto scope = scope_of(answer->said.good_for, image, host);
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
               answer->said.auth, [&](const auto& each) { return each.second == credential; });
           return has_it && now - answer->asked >= kAskAgainAfter;
         }) > 0;
}

}  // namespace runnel::remote
