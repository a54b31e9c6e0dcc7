// A registry's own calls beside the distribution protocol: "/acr/v1/…" with the tokens that clients
// get for a repository, "/runnel/v1/…" as the person that the credentials name.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "net/headers.h"
#include "remote/credentials.h"
#include "remote/gateway.h"
#include "remote/token.h"

namespace runnel::remote {

struct ApiCall {
  std::string method = "GET";
  std::string path;         // encoded, with its query
  std::string repository;   // for messages, and for which credentials are the right ones
  Scope scope;              // of the token
  std::string what;         // "tag v1": for messages
  std::string body;         // JSON, or nothing
  std::string accept = {};  // media types
  // With user and password instead of a token: a token is good for one repository at most, and
  // tokens cannot make tokens.
  bool in_person = false;
};

struct ApiAnswer {
  int status = 0;
  net::Headers headers;
  Buffer body;

  bool ok() const { return status >= 200 && status < 300; }
  std::string_view header(std::string_view name) const {
    return headers.first(name).value_or(std::string_view());
  }
};

// Any thread may call any method; calls block, for a bounded time.
class RegistryApi {
 public:
  // `credentials` are those of the gateway.
  RegistryApi(std::shared_ptr<Gateway> gateway, std::string host,
              std::shared_ptr<CredentialSource> credentials);

  const std::string& host() const { return host_; }

  // The answer, whatever its status. GET, HEAD, PUT and PATCH are tried again when what is wrong
  // may pass, POST and DELETE only when they are `repeatable`.
  Result<ApiAnswer> send(const ApiCall& call, bool repeatable = false) const;
  // The same, but a status that is no success is an error.
  Result<ApiAnswer> expect(const ApiCall& call, bool repeatable = false) const;
  // What a refusal means, in the registry's words.
  std::unexpected<Error> refused(const ApiCall& call, const ApiAnswer& answer) const;

 private:
  Result<ApiAnswer> send_in_person(const ApiCall& call) const;
  void introduce(const ApiCall& call) const;

  const std::shared_ptr<Gateway> gateway_;
  const std::string host_;
  const std::shared_ptr<CredentialSource> credentials_;
};

}  // namespace runnel::remote
