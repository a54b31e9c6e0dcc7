#include "remote/registry_api.h"

#include "base/base64.h"
#include "remote/error_body.h"
#include "remote/exchange.h"

namespace runnel::remote {

namespace {

constexpr size_t kMaxAnswer = 16 << 20;
// With an identity token as the password: Runnel's registry takes it for any name, clients of ACR
// send this one.
constexpr const char* kNobody = "00000000-0000-0000-0000-000000000000";

Call call_of(const ApiCall& call, const Exchange& exchange) {
  Call out;
  out.method = call.method;
  out.url = exchange.endpoint().url + call.path;
  out.scope = call.scope;
  out.what = call.what;
  out.total_timeout = exchange.gateway().options.small_timeout;
  if (!call.accept.empty()) out.headers.set("Accept", call.accept);
  if (!call.body.empty()) {
    out.headers.set("Content-Type", "application/json");
    out.body = call.body;
  }
  return out;
}

ApiAnswer answer_of(Answer answer) {
  ApiAnswer out;
  out.status = answer.status;
  out.headers = std::move(answer.headers);
  out.body = std::move(answer.body);
  return out;
}

}  // namespace

RegistryApi::RegistryApi(std::shared_ptr<Gateway> gateway, std::string host,
                         std::shared_ptr<CredentialSource> credentials)
    : gateway_(std::move(gateway)), host_(std::move(host)), credentials_(std::move(credentials)) {}

// What is open to everybody is answered without asking who it is, and lists then have only what
// everybody may see. The ping asks; whether it lets us in matters to the call that follows.
void RegistryApi::introduce(const ApiCall& call) const {
  const Exchange exchange(gateway_, host_, call.repository);
  Call ping;
  ping.url = exchange.endpoint().url + "/v2/";
  ping.scope = call.scope;
  ping.what = "log in";
  ping.total_timeout = gateway_->options.small_timeout;
  (void)exchange.once(ping, kMaxAnswer);
}

Result<ApiAnswer> RegistryApi::send(const ApiCall& call, bool repeatable) const {
  if (call.in_person) return send_in_person(call);
  const Exchange exchange(gateway_, host_, call.repository);
  if (gateway_->authorizer.known(host_, call.scope).header.empty()) introduce(call);
  const bool may_repeat = repeatable || (call.method != "POST" && call.method != "DELETE");
  const auto request = call_of(call, exchange);
  RUNNEL_TRY(auto answer,
             may_repeat ? exchange.send(request, kMaxAnswer) : exchange.once(request, kMaxAnswer));
  return answer_of(std::move(answer));
}

Result<ApiAnswer> RegistryApi::send_in_person(const ApiCall& call) const {
  const Exchange exchange(gateway_, host_, call.repository);
  RUNNEL_TRY(const auto found, credentials_->find(host_, call.repository));
  net::ClientRequest request(call.method, exchange.endpoint().url + call.path);
  request.max_redirects = 0;
  request.connect_timeout = gateway_->options.connect_timeout;
  request.stall_timeout = gateway_->options.stall_timeout;
  request.tls = exchange.endpoint().tls;
  request.origin_headers = exchange.endpoint().headers;
  if (found) {
    const auto& user = found->user.empty() ? kNobody : found->user;
    request.origin_headers.set("Authorization",
                               "Basic " + to_base64(user + ":" + found->secret.reveal()));
  }
  if (!call.body.empty()) {
    request.headers.set("Content-Type", "application/json");
    request.body = call.body;
  }
  auto answer = gateway_->client.fetch(std::move(request), kMaxAnswer);
  if (!answer) return std::unexpected(answer.error().in(exchange.where(call.what)));
  ApiAnswer out;
  out.status = answer->head.status;
  out.headers = std::move(answer->head.headers);
  out.body = std::move(answer->body);
  return out;
}

Result<ApiAnswer> RegistryApi::expect(const ApiCall& call, bool repeatable) const {
  RUNNEL_TRY(auto answer, send(call, repeatable));
  if (!answer.ok()) return refused(call, answer);
  return answer;
}

std::unexpected<Error> RegistryApi::refused(const ApiCall& call, const ApiAnswer& answer) const {
  const auto text = error_text(answer.body, answer.header("Content-Type"));
  const auto correlation = error_text(as_bytes(answer.header("X-Ms-Correlation-Request-Id")),
                                      "text/plain");  // without control characters
  return fail(code_of_status(answer.status), "{}{}{}: {}: {} was answered with {}{}{}{}", host_,
              call.repository.empty() ? "" : "/", call.repository, call.what, call.method,
              status_text(answer.status), text.empty() ? "" : ": ", text,
              correlation.empty() ? "" : fmt::format(" (correlation ID {})", correlation));
}

}  // namespace runnel::remote
