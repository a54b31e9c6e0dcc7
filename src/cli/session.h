// One registry, as one person, for the time of a command.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/api_options.h"
#include "cli/failure.h"
#include "cli/registry_access.h"
#include "oci/digest.h"
#include "remote/registry_api.h"

namespace boost::json {
class array;
class object;
class value;
}  // namespace boost::json

namespace runnel::cli {

// "REPO:TAG", "REPO@DIGEST", or with the registry before it.
struct ImageName {
  std::string host;  // empty when none was written
  std::string repository;
  std::string tag;  // empty when there is a digest
  std::optional<oci::Digest> digest;

  // A tag or a digest, "latest" without either. kInvalid says what is wrong.
  static Outcome<ImageName> parse(std::string_view text);

  std::string target() const { return digest ? digest->to_string() : tag; }
  // As it was written, without the registry.
  std::string text() const;
};

class Session {
 public:
  // `named`: the registry that the image's name has, which goes before --registry. kInvalid when
  // there is neither.
  static Outcome<Session> open(const ApiOptions& options, std::string_view named = {});

  const std::string& host() const { return api_->host(); }
  remote::Repository repository(std::string_view name) const;

  // The JSON of the answer, which is null when there is none. Refusals are errors that say what to
  // do next.
  Result<boost::json::value> call(const remote::ApiCall& call, bool repeatable = false) const;
  // All pages of a list: the elements of `member`, at most `limit`.
  Result<boost::json::array> list(remote::ApiCall call, std::string_view member,
                                  size_t limit) const;
  // The answer, whatever its status. When none came, the error is kDenied with what to do next, or
  // as the network gave it.
  Result<remote::ApiAnswer> send(const remote::ApiCall& call) const;
  // What a refusal means, with what to do next.
  std::unexpected<Error> refused(const remote::ApiCall& call,
                                 const remote::ApiAnswer& answer) const;

  // Who asks; lives as long as this.
  remote::CredentialSource& credentials() const { return *credentials_; }

  // The digest behind the name: as it is, or looked up.
  Result<oci::Digest> resolve(const ImageName& image) const;

 private:
  Session(std::unique_ptr<RegistryAccess> access, std::unique_ptr<remote::RegistryApi> api,
          std::shared_ptr<remote::CredentialSource> credentials)
      : access_(std::move(access)), api_(std::move(api)), credentials_(std::move(credentials)) {}

  std::unique_ptr<RegistryAccess> access_;
  std::unique_ptr<remote::RegistryApi> api_;
  std::shared_ptr<remote::CredentialSource> credentials_;
};

// The registry that a command speaks to, HOST[:PORT]; `named` goes before the options.
Outcome<std::string> host_of(const ApiOptions& options, std::string_view named);

// "repository:NAME:ACTIONS"
remote::Scope repository_scope(std::string_view repository, std::string_view actions);

Result<boost::json::value> parse_answer(const remote::ApiAnswer& answer);

}  // namespace runnel::cli
