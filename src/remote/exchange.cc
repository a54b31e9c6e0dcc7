#include "remote/exchange.h"

#include <algorithm>

#include "net/transfer_report.h"
#include "remote/error_body.h"
#include "remote/header_values.h"
#include "remote/url.h"

namespace runnel::remote {

namespace {

constexpr int kMaxRedirects = 5;

// 301 to 303 turn anything else into a GET, which would be another request than the one meant.
bool is_redirect(const Call& call, const Answer& answer) {
  if (answer.header("Location").empty()) return false;
  if (answer.status == 307 || answer.status == 308) return true;
  const bool reads = call.method == "GET" || call.method == "HEAD";
  return reads && answer.status >= 301 && answer.status <= 303;
}

Result<Buffer> read_all(Incoming& body, size_t limit) {
  Buffer all;
  while (true) {
    RUNNEL_TRY(const Bytes piece, body.read());
    if (piece.empty()) return all;
    if (piece.size() > limit - all.size())
      return fail(Code::kExhausted, "the answer is larger than the {} bytes that we take", limit);
    all.insert(all.end(), piece.begin(), piece.end());
  }
}

}  // namespace

Exchange::Exchange(std::shared_ptr<Gateway> gateway, std::string host, std::string repository)
    : gateway_(std::move(gateway)),
      endpoint_(gateway_->hosts.endpoint(host)),
      repository_(std::move(repository)) {}

std::string Exchange::where(const std::string& what) const {
  return fmt::format("{}{}{}: {}", endpoint_.host, repository_.empty() ? "" : "/", repository_,
                     what);
}

std::unexpected<Error> Exchange::refused(const Call& call, const Answer& answer) const {
  const std::string text = error_text(answer.body, answer.header("Content-Type"));
  return fail(code_of_status(answer.status), "{}: {} answered {}{}{}", where(call.what),
              call.method, status_text(answer.status), text.empty() ? "" : ": ", text);
}

Result<OpenAnswer> Exchange::pass(const Call& call, const std::string& url,
                                  const Secret& authorization) const {
  net::ClientRequest request(call.method, url);
  request.headers = call.headers;
  request.body = call.body;
  request.connect_timeout = gateway_->options.connect_timeout;
  request.stall_timeout = gateway_->options.stall_timeout;
  request.total_timeout = call.total_timeout;
  request.max_redirects = 0;  // each one is looked at here
  const bool ours = is_same_origin(url, endpoint_.url);
  request.tls = ours ? endpoint_.tls : endpoint_.tls_elsewhere;
  if (ours) request.origin_headers = endpoint_.headers;
  if (ours && !authorization.empty()) request.headers.set("Authorization", authorization.reveal());

  OpenAnswer out;
  {
    const net::TransferScope scope(fmt::format("{}/{}", endpoint_.host, repository_), "node");
    out.body = std::make_unique<Incoming>(gateway_->client, std::move(request));
  }
  auto head = out.body->head();
  if (!head) return std::unexpected(head.error().in(where(call.what)));
  out.answer.status = head->status;
  out.answer.headers = std::move(head->headers);
  out.answer.url = url;
  if (!out.answer.ok()) {
    out.answer.body = out.body->take_refusal();
    out.body.reset();
  }
  return out;
}

Result<Secret> Exchange::renew(const Call& call, const Answer& refusal, const Secret& sent) const {
  auto fresh = gateway_->authorizer.answer(endpoint_.host, call.scope,
                                           refusal.headers.all("WWW-Authenticate"), sent);
  if (fresh) return fresh;
  const std::string text = error_text(refusal.body, refusal.header("Content-Type"));
  return fail(fresh.error().code, "{}: {}{}{}{}", where(call.what), fresh.error().message,
              text.empty() ? "" : " (it said: ", text, text.empty() ? "" : ")");
}

Result<std::string> Exchange::follow(const Answer& redirect, const std::string& what) const {
  auto target = resolve_url(redirect.url, redirect.header("Location"));
  if (!target) return std::unexpected(target.error().in(where(what) + ": redirect"));
  const auto allowed = check_leads_on(endpoint_, *target);
  if (!allowed) return std::unexpected(allowed.error().in(where(what)));
  return target;
}

Result<OpenAnswer> Exchange::open(const Call& call) const {
  if (endpoint_.refused) return std::unexpected(endpoint_.refused->in(where(call.what)));
  auto authorization = gateway_->authorizer.authorize(endpoint_.host, call.scope);
  if (!authorization) return std::unexpected(authorization.error().in(where(call.what)));

  std::string url = call.url;
  bool renewed = false;
  int hops = 0;
  while (true) {
    RUNNEL_TRY(OpenAnswer out, pass(call, url, *authorization));
    const bool ours = is_same_origin(url, endpoint_.url);
    if (out.answer.status == 401 && ours && !renewed) {
      renewed = true;
      authorization = renew(call, out.answer, *authorization);
      if (!authorization) return std::unexpected(authorization.error());
      continue;
    }
    if (!is_redirect(call, out.answer)) return out;
    if (++hops > kMaxRedirects)
      return fail(Code::kInvalid, "{}: more than {} redirects", where(call.what), kMaxRedirects);
    RUNNEL_TRY(url, follow(out.answer, call.what));
  }
}

bool Exchange::pause(int done, const Answer* refusal, SteadyTime since) const {
  const GatewayOptions& options = gateway_->options;
  if (done >= options.retry.attempts) return false;
  const Duration silent = std::chrono::steady_clock::now() - since;
  if (refusal == nullptr && silent >= options.stall_timeout) return false;
  Duration delay = options.retry.delay(done, gateway_->random());
  if (refusal != nullptr) {
    const auto asked = parse_retry_after(refusal->header("Retry-After"), gateway_->clock.wall());
    if (asked && *asked > options.longest_wait) return false;
    if (asked) delay = std::max(delay, *asked);
  }
  return gateway_->client.rest(delay);
}

Result<Answer> Exchange::once(const Call& call, size_t limit) const {
  RUNNEL_TRY(OpenAnswer out, open(call));
  if (!out.answer.ok()) return std::move(out.answer);
  auto body = read_all(*out.body, limit);
  if (!body) return std::unexpected(body.error().in(where(call.what)));
  out.answer.body = *std::move(body);
  return std::move(out.answer);
}

Result<Answer> Exchange::send(const Call& call, size_t limit) const {
  const SteadyTime start = std::chrono::steady_clock::now();
  for (int done = 1;; ++done) {
    auto answer = once(call, limit);
    const bool may_pass =
        answer ? is_retryable_status(answer->status) : answer.error().code == Code::kUnavailable;
    if (!may_pass || !pause(done, answer ? &*answer : nullptr, start)) return answer;
  }
}

}  // namespace runnel::remote
