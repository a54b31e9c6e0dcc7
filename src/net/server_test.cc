#include "net/server.h"

#include <gtest/gtest.h>

#include <functional>

#include "net/client.h"
#include "support/raw_socket.h"

namespace runnel::net {
namespace {

using test::RawSocket;
using HandlerFunction = std::function<awaitable<Response>(Request&, RequestBody&)>;

class FunctionHandler final : public Handler {
 public:
  explicit FunctionHandler(HandlerFunction function) : function_(std::move(function)) {}
  awaitable<Response> handle(Request& request, RequestBody& body) override {
    return function_(request, body);
  }

 private:
  HandlerFunction function_;
};

// A server on a free port with this handler.
class Serving {
 public:
  explicit Serving(HandlerFunction function, Server::Options options = {})
      : handler_(std::move(function)), server_(Server::listen(options, handler_).value()) {}

  std::string url(std::string_view path) const {
    return fmt::format("http://127.0.0.1:{}{}", server_->port(), path);
  }
  uint16_t port() const { return server_->port(); }
  Server& server() { return *server_; }

 private:
  FunctionHandler handler_;
  std::unique_ptr<Server> server_;
};

awaitable<Response> say_path(Request& request, RequestBody&) {
  Headers headers;
  headers.add("Content-Type", "text/plain");
  co_return Response(200, std::move(headers), request.method + " " + request.path);
}

TEST(Server, AnswersOurClient) {
  const Serving serving(say_path);
  Client client;

  auto response = client.fetch(ClientRequest(serving.url("/v2/a%20b")), 1024).value();

  EXPECT_EQ(response.head.status, 200);
  EXPECT_EQ(as_text(response.body), "GET /v2/a b");
}

}  // namespace
}  // namespace runnel::net
