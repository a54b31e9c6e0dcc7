#include "node/control.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/quote.h"
#include "net/async.h"
#include "oci/reference.h"
#include "remote/try_credential.h"

namespace runnel::node {

namespace {

namespace json = boost::json;

constexpr auto kJobPatience = std::chrono::seconds(1);

net::Response json_response(int status, const json::object& body) {
  return net::Response(status, net::Headers{{"Content-Type", "application/json"}},
                       json::serialize(body));
}

json::object to_json(const Completion::Status& status) {
  return {{"running", status.running},
          {"complete", status.complete},
          {"bytes_missing", status.bytes_missing},
          {"error", status.error}};
}

net::Response refusal(int status, const std::string& sentence) {
  return json_response(status, {{"error", sentence}});
}

// What went wrong, to a status that tells the command apart what is whose fault.
net::Response refusal(const Error& error) {
  const bool asked_wrongly =
      error.code == Code::kInvalid || error.code == Code::kNotFound || error.code == Code::kDenied;
  return refusal(asked_wrongly ? 400 : 500, error.message);
}

Result<json::object> parse_body(const std::string& body) {
  boost::system::error_code broken;
  auto value = json::parse(body, broken);
  if (broken || !value.is_object()) return fail(Code::kInvalid, "the request is no JSON object");
  return std::move(value.get_object());
}

Result<std::string> text_member(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_string() || value->get_string().empty())
    return fail(Code::kInvalid, "the request has no \"{}\"", name);
  return std::string(value->get_string());
}

net::awaitable<Result<std::string>> read_body(net::RequestBody& body) {
  constexpr size_t kMost = 256 << 10;
  std::string all;
  Buffer piece(16 * 1024);
  for (;;) {
    RUNNEL_CO_TRY(const size_t size, co_await body.read(piece));
    if (size == 0) co_return all;
    if (all.size() + size > kMost) co_return fail(Code::kExhausted, "the request is too large");
    all += as_text(Bytes(piece).first(size));
  }
}

}  // namespace

const Control::Route* Control::find(const net::Request& request) {
  static constexpr Route kRoutes[] = {{"GET", "/status", &Control::status},
                                      {"GET", "/containers", &Control::containers},
                                      {"POST", "/clear", &Control::clear},
                                      {"POST", "/complete", &Control::complete},
                                      {"GET", "/complete", &Control::completion},
                                      {"POST", "/profile", &Control::profile},
                                      {"POST", "/why", &Control::why},
                                      {"POST", "/login", &Control::login},
                                      {"POST", "/logout", &Control::logout},
                                      {"POST", "/check-registry", &Control::check_registry},
                                      {"POST", "/materialize", &Control::materialize},
                                      {"POST", "/repull", &Control::repull}};
  const auto* found = std::ranges::find_if(kRoutes, [&](const Route& route) {
    return request.method == route.method && request.path == route.path;
  });
  return found == std::end(kRoutes) ? nullptr : found;
}

net::awaitable<net::Response> Control::handle(net::Request& request, net::RequestBody& body) {
  const Route* route = find(request);
  if (route == nullptr) co_return refusal(404, "the control socket has no such request");
  auto text = co_await read_body(body);
  if (!text) co_return refusal(text.error());
  auto work = [this, route, text = *std::move(text)] { return (this->*route->run)(text); };
  co_return co_await net::on_pool(pool_, std::move(work));
}

net::Response Control::status(const std::string&) {
  return net::Response(200, net::Headers{{"Content-Type", "application/json"}}, parts_.status());
}

net::Response Control::containers(const std::string&) {
  auto list = parts_.containers();
  if (!list) return refusal(list.error());
  return net::Response(200, net::Headers{{"Content-Type", "application/json"}}, *std::move(list));
}

net::Response Control::clear(const std::string&) {
  parts_.images.unmount_idle();
  const auto freed = parts_.engine.clear();
  if (!freed) return refusal(freed.error());
  return json_response(200, {{"freed_bytes", *freed}});
}

net::Response Control::complete(const std::string& body) {
  completion_.start();
  return completion(body);
}

net::Response Control::completion(const std::string&) {
  return json_response(200, to_json(completion_.status()));
}

net::Response Control::profile(const std::string& body) {
  const auto profile = [&]() -> Result<artifact::Profile> {
    RUNNEL_TRY(const auto request, parse_body(body));
    RUNNEL_TRY(const auto image, text_member(request, "image"));
    RUNNEL_TRY(const auto reference, oci::Reference::parse(image));
    return parts_.images.profile(reference);
  }();
  if (!profile) return refusal(profile.error());
  return net::Response(200, net::Headers{{"Content-Type", "application/json"}},
                       artifact::to_json(*profile));
}

net::Response Control::why(const std::string& body) {
  auto events = [&]() -> Result<std::string> {
    RUNNEL_TRY(const auto request, parse_body(body));
    RUNNEL_TRY(const auto name, text_member(request, "name"));
    return parts_.why(name);
  }();
  if (!events) return refusal(events.error());
  return net::Response(200, net::Headers{{"Content-Type", "application/json"}}, *std::move(events));
}

net::Response Control::login(const std::string& body) {
  const auto done = [&]() -> Result<void> {
    RUNNEL_TRY(const auto request, parse_body(body));
    RUNNEL_TRY(const auto host, text_member(request, "host"));
    RUNNEL_TRY(const auto user, text_member(request, "user"));
    RUNNEL_TRY(auto secret, text_member(request, "secret"));
    if (!net::split_host_port(host)) return fail(Code::kInvalid, "{} is no host", quote(host));
    const remote::Credential credential{.user = user, .secret = remote::Secret(std::move(secret))};
    RUNNEL_DO(remote::try_credential(parts_.gateway.client, parts_.gateway.hosts.endpoint(host),
                                     credential));
    RUNNEL_DO(parts_.logins.add(host, credential));
    parts_.engine.credentials_changed();
    return {};
  }();
  return done ? json_response(200, {}) : refusal(done.error());
}

net::Response Control::logout(const std::string& body) {
  const auto done = [&]() -> Result<void> {
    RUNNEL_TRY(const auto request, parse_body(body));
    RUNNEL_TRY(const auto host, text_member(request, "host"));
    return parts_.logins.remove(host);
  }();
  return done ? json_response(200, {}) : refusal(done.error());
}

net::Response Control::check_registry(const std::string& body) {
  const auto reference = [&]() -> Result<oci::Reference> {
    RUNNEL_TRY(const auto request, parse_body(body));
    RUNNEL_TRY(const auto text, text_member(request, "reference"));
    return oci::Reference::parse(text);
  }();
  if (!reference) return refusal(reference.error());
  json::array steps;
  bool ok = true;
  for (const auto& step : parts_.check.run(*reference)) {
    ok = ok && step.ok;
    steps.push_back(json::object{
        {"step", step.name}, {"ok", step.ok}, {"detail", step.detail}, {"next", step.next}});
  }
  return json_response(200, {{"ok", ok}, {"steps", std::move(steps)}});
}

net::Response Control::materialize(const std::string& body) {
  return job("materialize", body);
}

net::Response Control::repull(const std::string& body) {
  return job("repull", body);
}

net::Response Control::job(const std::string& work, const std::string& body) {
  const auto request = [&]() -> Result<ImageRequest> {
    RUNNEL_TRY(const auto object, parse_body(body));
    ImageRequest asked;
    RUNNEL_TRY(asked.image, text_member(object, "image"));
    RUNNEL_TRY(asked.address, text_member(object, "address"));
    if (object.contains("namespace")) {
      RUNNEL_TRY(asked.name_space, text_member(object, "namespace"));
    }
    return asked;
  }();
  if (!request) return refusal(request.error());
  const auto state = parts_.jobs.ask(work, *request, kJobPatience);
  return json_response(200, {{"ended", state.ended},
                             {"error", state.error},
                             {"layers", state.progress.layers},
                             {"layers_here", state.progress.layers_here},
                             {"bytes", state.progress.done},
                             {"bytes_total", state.progress.total}});
}

}  // namespace runnel::node
