#include "remote/credential_helper.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>

#include "base/quote.h"

namespace runnel::remote {

namespace {

bool is_plain_word(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name.front() != '-' && name.front() != '.' &&
         std::ranges::all_of(name, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

std::string text_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

Result<std::optional<Credential>> interpret(const ProgramOutcome& outcome) {
  const auto well = check_ended_well(outcome);
  if (well) return parse_helper_answer(outcome.output);
  if (outcome.output.find("credentials not found") != std::string::npos) return std::nullopt;
  return std::unexpected(well.error());
}

}  // namespace

Result<std::optional<Credential>> parse_helper_answer(std::string_view output) {
  boost::system::error_code broken;
  const auto value = boost::json::parse(output, broken);
  if (broken || !value.is_object()) return fail(Code::kInvalid, "its answer is not a JSON object");

  Credential credential;
  credential.user = text_of(value.as_object(), "Username");
  credential.secret = Secret(text_of(value.as_object(), "Secret"));
  if (credential.secret.empty()) return std::nullopt;
  if (credential.user == "<token>") {
    credential.kind = Credential::Kind::kIdentityToken;
    credential.user.clear();
  }
  return credential;
}

Result<std::string> credential_program(std::string_view name) {
  if (!is_plain_word(name))
    return fail(Code::kInvalid, "credential helper {} is not a plain word", quote(name));
  return "docker-credential-" + std::string(name);
}

Result<std::optional<Credential>> ask_credential_helper(std::string_view name,
                                                        std::string_view server,
                                                        const ProgramLimits& limits) {
  RUNNEL_TRY(const auto program, credential_program(name));
  const ProgramCall call{
      .program = program, .arguments = {"get"}, .environment = {}, .question = std::string(server)};
  auto outcome = run_program(call, limits);
  if (!outcome) return std::unexpected(outcome.error().in(program));
  auto credential = interpret(*outcome);
  if (!credential) return std::unexpected(credential.error().in(program));
  return credential;
}

}  // namespace runnel::remote
