// Internal to the conversion's API (streaming_api.h): what all of its calls need, and the calls.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "registry/conversions.h"
#include "registry/reply.h"
#include "registry/services.h"
#include "registry/streaming_target.h"

namespace boost::json {
class object;
}

namespace runnel::registry {

inline constexpr std::string_view kStreamingJson = "application/json; charset=utf-8";

struct StreamingCall {
  Services& services;
  Conversions& conversions;
  const Caller& caller;
  const net::Request& request;
  const StreamingTarget& target;
  Bytes body;

  meta::OperationQueue& queue() const { return conversions.queue(); }
};

Refusal no_such_operation();
Refusal no_such_repository(std::string_view repository);

// Whether the caller may do this in the target's repository, which must have a valid name.
std::expected<void, Refusal> check(const StreamingCall& call, access::Action action,
                                   const Refusal& absent);
// To ask for something: clients say pull,push.
std::expected<void, Refusal> check_push(const StreamingCall& call, const Refusal& absent);

// The body's object; an empty one for no body.
std::expected<boost::json::object, Refusal> body_object(const StreamingCall& call);
// A text of the body, if it is there.
std::expected<std::optional<std::string>, Refusal> text_of(const boost::json::object& body,
                                                           std::string_view key);

net::Response streaming_answer(int status, const boost::json::object& body);
// Where the operation is looked at.
void add_operation_headers(const StreamingCall& call, net::Response& response,
                           const std::string& id);

// streaming_switch.cc
Answer show_switch(const StreamingCall& call);
Answer change_switch(const StreamingCall& call);

// streaming_images.cc
Answer show_image(const StreamingCall& call);
Answer convert_image(const StreamingCall& call);
Answer convert_all(const StreamingCall& call);
Answer delete_artifact(const StreamingCall& call);
Answer show_mount(const StreamingCall& call);

// streaming_operations.cc
Answer show_operation(const StreamingCall& call);
Answer cancel_operation(const StreamingCall& call);
Answer list_operations(const StreamingCall& call);

}  // namespace runnel::registry
