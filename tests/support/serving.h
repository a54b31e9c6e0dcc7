// A real HTTP server for one test, with a function as its handler.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "net/server.h"

namespace runnel::test {

using HandlerFunction =
    std::function<net::awaitable<net::Response>(net::Request&, net::RequestBody&)>;

class FunctionHandler final : public net::Handler {
 public:
  explicit FunctionHandler(HandlerFunction function) : function_(std::move(function)) {}
  net::awaitable<net::Response> handle(net::Request& request, net::RequestBody& body) override {
    return function_(request, body);
  }

 private:
  const HandlerFunction function_;
};

class Serving {
 public:
  explicit Serving(HandlerFunction function, net::Server::Options options = {})
      : handler_(std::move(function)), server_(net::Server::listen(options, handler_).value()) {}

  uint16_t port() const { return server_->port(); }
  std::string url(std::string_view path) const {
    return fmt::format("http://127.0.0.1:{}{}", port(), path);
  }
  net::Server& server() { return *server_; }

 private:
  FunctionHandler handler_;
  std::unique_ptr<net::Server> server_;
};

}  // namespace runnel::test
