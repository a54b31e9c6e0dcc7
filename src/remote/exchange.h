// One request to a registry with all that belongs to it: the Authorization header, one renewal
// after a 401, redirects (each checked), retries with back-off. Internal to remote/.
#pragma once

#include <memory>
#include <string>

#include "net/client.h"
#include "remote/gateway.h"
#include "remote/incoming.h"
#include "remote/token.h"

namespace runnel::remote {

struct Call {
  std::string method = "GET";
  std::string url;
  net::Headers headers;
  decltype(net::ClientRequest::body) body;
  Scope scope;
  std::string what;  // "manifest latest": for messages
  Duration total_timeout = Duration::zero();
};

struct Answer {
  int status = 0;
  net::Headers headers;
  std::string url;  // where it came from, after redirects
  Buffer body;      // the whole of a success when it was sent(), the beginning of a refusal

  bool ok() const { return status >= 200 && status < 300; }
  std::string_view header(std::string_view name) const {
    return headers.first(name).value_or(std::string_view());
  }
};

struct OpenAnswer {
  Answer answer;
  std::unique_ptr<Incoming> body;  // of a success
};

class Exchange {
 public:
  Exchange(std::shared_ptr<Gateway> gateway, std::string host, std::string repository);

  // The answer, whatever its status, after retries of what may pass. Every method is retried, so
  // the caller makes sure that doing it twice does no harm. kExhausted when the body of a success
  // is larger than `limit`.
  Result<Answer> send(const Call& call, size_t limit) const;

  // The same in one attempt (renewal and redirects included).
  Result<Answer> once(const Call& call, size_t limit) const;
  // The same, with the body of a success for the caller to read.
  Result<OpenAnswer> open(const Call& call) const;

  // Waits before another attempt, `done` having failed. False when that were all, when the registry
  // wants a longer pause than we make, or when it has not answered (`refusal` is null) since
  // `since`, which is longer ago than the stall timeout: attempts do not multiply that.
  bool pause(int done, const Answer* refusal, SteadyTime since) const;

  // The error that a refusal is: host, repository, what, status, the registry's own words.
  std::unexpected<Error> refused(const Call& call, const Answer& answer) const;
  // "registry.example/a/b: manifest latest".
  std::string where(const std::string& what) const;

  const Endpoint& endpoint() const { return endpoint_; }
  const Gateway& gateway() const { return *gateway_; }

 private:
  Result<OpenAnswer> pass(const Call& call, const std::string& url,
                          const Secret& authorization) const;
  Result<Secret> renew(const Call& call, const Answer& refusal, const Secret& sent) const;
  Result<std::string> follow(const Answer& redirect, const std::string& what) const;

  const std::shared_ptr<Gateway> gateway_;
  const Endpoint endpoint_;
  const std::string repository_;
};

}  // namespace runnel::remote
