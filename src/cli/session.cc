#include "cli/session.h"

#include <boost/json.hpp>

#include "base/quote.h"
#include "cli/report.h"
#include "cli/secret_input.h"
#include "net/url.h"
#include "remote/docker_config.h"
#include "remote/header_values.h"
#include "remote/url.h"

namespace runnel::cli {

namespace json = boost::json;

namespace {

constexpr size_t kMaxPages = 100'000;
// With which clients of ACR send a token as the password.
constexpr const char* kTokenUser = "00000000-0000-0000-0000-000000000000";

Result<std::shared_ptr<remote::CredentialSource>> credentials_of(const ApiOptions& options,
                                                                 const std::string& host) {
  if (options.user.empty() && options.password.empty() && !options.password_stdin)
    return std::make_shared<remote::DockerConfig>(remote::DockerConfig::default_path());
  remote::Credential credential;
  credential.user = options.user.empty() ? kTokenUser : options.user;
  std::string secret = options.password;
  if (secret.empty()) {
    RUNNEL_TRY(secret, read_secret());
  }
  credential.secret = remote::Secret(std::move(secret));
  return std::make_shared<remote::FixedCredential>(host, std::move(credential));
}

// A command with a session has flags for who asks.
Error advised(Error error, const std::string& host) {
  const bool denied = error.code == Code::kDenied;
  auto out = with_advice(std::move(error), host);
  if (denied) out.message += ", or say --username and --password-stdin";
  return out;
}

}  // namespace

Outcome<std::string> host_of(const ApiOptions& options, std::string_view named) {
  std::string host(named.empty() ? std::string_view(options.host) : named);
  if (host.empty())
    return usage_error("which registry? Say --registry HOST[:PORT], or set RUNNEL_REGISTRY");
  const bool is_name = host.find_first_of(".:") == std::string::npos && host != "localhost";
  if (is_name && !options.suffix.empty())
    host += (options.suffix.starts_with('.') ? "" : ".") + options.suffix;
  if (!net::split_host_port(host))
    return usage_error("{} is not a registry: HOST or HOST:PORT, without https://", quote(host));
  return host;
}

Outcome<ImageName> ImageName::parse(std::string_view text) {
  // Without a host it would be docker.io's, so one is put before it unless it has one.
  const auto slash = text.find('/');
  const auto first = text.substr(0, slash);
  const bool has_host =
      slash != std::string_view::npos &&
      (first.find_first_of(".:") != std::string_view::npos || first == "localhost");
  auto reference = oci::Reference::parse(has_host ? std::string(text) : "a.b/" + std::string(text));
  if (!reference)
    return usage_error("{} is not an image: REPOSITORY:TAG or REPOSITORY@DIGEST", quote(text));
  ImageName out;
  if (has_host) out.host = reference->host;
  out.repository = std::move(reference->repository);
  out.digest = reference->digest;
  if (!out.digest) out.tag = std::move(reference->tag);
  return out;
}

std::string ImageName::text() const {
  return digest ? fmt::format("{}@{}", repository, *digest) : fmt::format("{}:{}", repository, tag);
}

Outcome<Session> Session::open(const ApiOptions& options, std::string_view named) {
  RUNNEL_TRY(const auto host, host_of(options, named));
  RUNNEL_TRY(auto credentials, credentials_of(options, host));
  auto access = std::make_unique<RegistryAccess>(options.registry, credentials);
  auto api = std::make_unique<remote::RegistryApi>(access->gateway(), host, credentials);
  return Session(std::move(access), std::move(api), std::move(credentials));
}

remote::Repository Session::repository(std::string_view name) const {
  return remote::Repository(access_->gateway(), host(), std::string(name));
}

Result<json::value> parse_answer(const remote::ApiAnswer& answer) {
  if (answer.body.empty()) return nullptr;
  json::error_code wrong;
  auto parsed = json::parse(as_text(answer.body), wrong);
  if (wrong) return fail(Code::kInvalid, "the registry's answer is not JSON: {}", wrong.message());
  return parsed;
}

Result<remote::ApiAnswer> Session::send(const remote::ApiCall& call) const {
  auto answer = api_->send(call);
  if (!answer && answer.error().code == Code::kDenied)
    return std::unexpected(advised(answer.error(), host()));
  return answer;
}

std::unexpected<Error> Session::refused(const remote::ApiCall& call,
                                        const remote::ApiAnswer& answer) const {
  return std::unexpected(advised(api_->refused(call, answer).error(), host()));
}

Result<json::value> Session::call(const remote::ApiCall& call, bool repeatable) const {
  const auto answer = api_->expect(call, repeatable);
  if (!answer) return std::unexpected(advised(answer.error(), host()));
  auto parsed = parse_answer(*answer);
  if (!parsed) return std::unexpected(parsed.error().in(host() + ": " + call.what));
  return parsed;
}

Result<json::array> Session::list(remote::ApiCall call, std::string_view member,
                                  size_t limit) const {
  json::array all;
  for (size_t page = 0; page < kMaxPages; ++page) {
    const auto answer = api_->expect(call);
    if (!answer) return std::unexpected(advised(answer.error(), host()));
    RUNNEL_TRY(auto parsed, parse_answer(*answer));
    auto* object = parsed.if_object();
    auto* found = object != nullptr ? object->if_contains(member) : nullptr;
    if (found == nullptr || !(found->is_array() || found->is_null()))
      return fail(Code::kInvalid, "{}: {}: the answer has no list \"{}\"", host(), call.what,
                  member);
    if (found->is_array()) {
      for (auto& each : found->get_array()) {
        if (all.size() == limit) return all;
        all.push_back(std::move(each));
      }
    }
    const auto next = remote::next_link(answer->header("Link"));
    if (!next) return all;
    // Only its path counts: the next page is where this one was.
    RUNNEL_TRY(const auto target, remote::resolve_url("https://a.b" + call.path, *next));
    call.path = target.substr(target.find('/', std::string_view("https://").size()));
  }
  return fail(Code::kInvalid, "{}: {}: the list does not end", host(), call.what);
}

Result<oci::Digest> Session::resolve(const ImageName& image) const {
  if (image.digest) return *image.digest;
  auto found = repository(image.repository).resolve(image.tag);
  if (!found) return std::unexpected(advised(found.error(), host()));
  return found->digest;
}

remote::Scope repository_scope(std::string_view repository, std::string_view actions) {
  const auto text = fmt::format("repository:{}:{}", repository, actions);
  return remote::Scope::of({text});
}

}  // namespace runnel::cli
