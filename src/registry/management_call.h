// What the calls of the management API (management_api.h) share.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "registry/reply.h"

namespace boost::json {
class object;
}  // namespace boost::json

namespace runnel::registry {

// A request for one thing or for the list of all, by somebody who may manage.
struct ManagementCall {
  std::string_view method;
  std::string name;                           // empty for the list
  const boost::json::object* body = nullptr;  // never null; outlives the call
  std::string by;                             // Caller::id()
  WallTime now;
};

std::unexpected<Refusal> not_here(std::string_view method);
std::unexpected<Refusal> unknown(std::string_view what, std::string_view name);
net::Response management_answer(const boost::json::object& body);
// The member's text; 400 when it is something else.
std::expected<std::string, Refusal> text_member(const boost::json::object& object,
                                                std::string_view name, std::string_view otherwise);
// The body of a request, {} for none; 400 for what is no JSON object.
std::expected<boost::json::object, Refusal> parse_object(Bytes bytes);

}  // namespace runnel::registry
