#include "cli/control_socket.h"

#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>

#include "net/client.h"

namespace runnel::cli {

namespace {

constexpr size_t kMaxAnswer = 64 << 20;
// The node asks registries before it answers, each time with a limit of its own.
constexpr auto kStall = std::chrono::minutes(5);

std::string words_of(const std::string& body) {
  boost::system::error_code broken;
  const auto value = boost::json::parse(body, broken);
  const auto* object = broken ? nullptr : value.if_object();
  const auto* error = object == nullptr ? nullptr : object->if_contains("error");
  return error != nullptr && error->is_string() ? std::string(error->get_string()) : body;
}

// What the message of an error begins with, and what to do about it.
Error nobody_answers(const std::string& socket, const Error& why) {
  if (::access(socket.c_str(), F_OK) == 0 || errno != ENOENT)
    return why.in(fmt::format("{}: is the node running? (runnel node)", socket));
  return {
      why.code,
      fmt::format("there is no socket {}: the node does not run, or listens elsewhere. Start it "
                  "(runnel node), or give the --control that it was started with",
                  socket)};
}

}  // namespace

Result<std::string> ask_node(const std::string& socket, const char* method, const char* path,
                             const std::string& body) {
  net::Client client;
  net::ClientRequest request(method, std::string("http://node") + path);
  request.unix_socket = socket;
  request.stall_timeout = kStall;
  if (!body.empty()) request.body = body;
  auto answer = client.fetch(std::move(request), kMaxAnswer);
  if (!answer) return std::unexpected(nobody_answers(socket, answer.error()));
  auto text = std::string(as_text(answer->body));
  if (answer->head.status != 200)
    return fail(Code::kUnavailable, "the node refuses: {}", words_of(text));
  return text;
}

}  // namespace runnel::cli
