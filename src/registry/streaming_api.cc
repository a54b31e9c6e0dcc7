#include "registry/streaming_api.h"

#include <boost/json.hpp>

#include "base/quote.h"
#include "registry/request_body.h"
#include "registry/streaming_call.h"

namespace runnel::registry {

namespace json = boost::json;

using Kind = StreamingTarget::Kind;

namespace {

constexpr size_t kMaxBody = 64 * 1024;

Answer show_keys(const StreamingCall& call) {
  json::object key;
  key["id"] = call.conversions.key().id();
  key["algorithm"] = "ed25519";
  key["publicKey"] = call.conversions.key().public_pem();
  json::object body;
  body["keys"] = json::array{std::move(key)};
  return streaming_answer(200, body);
}

Answer answer(const StreamingCall& call) {
  const bool get = call.request.method == "GET";
  const bool post = call.request.method == "POST";
  switch (call.target.kind) {
    case Kind::kSwitch:
      if (get) return show_switch(call);
      if (post) return change_switch(call);
      break;
    case Kind::kImage:
      if (get) return show_image(call);
      if (post) return convert_image(call);
      break;
    case Kind::kOperation:
      if (get) return show_operation(call);
      break;
    case Kind::kCancel:
      if (post) return cancel_operation(call);
      break;
    case Kind::kListing:
      if (get) return list_operations(call);
      break;
    case Kind::kBulk:
      if (post) return convert_all(call);
      break;
    case Kind::kArtifact:
      if (call.request.method == "DELETE") return delete_artifact(call);
      break;
    case Kind::kKeys:
      if (get) return show_keys(call);
      break;
    case Kind::kMount:
      if (get) return show_mount(call);
      break;
  }
  return refuse(405, "UNSUPPORTED",
                fmt::format("{} is not possible here", quote(call.request.method)));
}

}  // namespace

bool is_streaming(const net::Request& request) {
  return parse_streaming_target(request.path).has_value();
}

net::awaitable<Answer> handle_streaming(Services& services, net::Request& request,
                                        net::RequestBody& body) {
  if (services.conversions == nullptr)
    co_return refuse(404, "UNSUPPORTED",
                     "conversion is switched off in this registry's configuration");
  const auto target = parse_streaming_target(request.path);
  auto caller = Caller::anyone();
  if (services.gate != nullptr && target->kind != Kind::kKeys) {
    auto identified = co_await services.gate->identify(request);
    if (!identified) co_return std::unexpected(identified.error());
    caller = *std::move(identified);
  }
  request.principal = caller.id();
  const auto bytes = co_await read_whole(body, kMaxBody);
  if (!bytes) co_return std::unexpected(Refusal(bytes.error()));
  auto work = [&] {
    return answer({services, *services.conversions, caller, request, *target, *bytes});
  };
  co_return co_await net::on_pool(services.writers, std::move(work));
}

}  // namespace runnel::registry
