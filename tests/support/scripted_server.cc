#include "support/scripted_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace runnel::test {

ScriptedServer::ScriptedServer(std::vector<Script> scripts)
    : scripts_(std::move(scripts)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(::bind(listener_.get(), generic, size), 0);
  EXPECT_EQ(::listen(listener_.get(), 64), 0);
  EXPECT_EQ(::getsockname(listener_.get(), generic, &size), 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { run(); });
}

ScriptedServer::~ScriptedServer() {
  // Ends accept(2).
  ::shutdown(listener_.get(), SHUT_RDWR);
  thread_.join();
}

std::string ScriptedServer::url(std::string_view path) const {
  return fmt::format("http://127.0.0.1:{}{}", port_, path);
}

void ScriptedServer::run() {
  for (;;) {
    UniqueFd connected(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connected) return;
    RawSocket socket(std::move(connected));
    const size_t index = connections_++;
    scripts_[std::min(index, scripts_.size() - 1)](socket);
  }
}

ScriptedServer::Script answer(std::string bytes) {
  return [bytes = std::move(bytes)](RawSocket& socket) {
    socket.read_until("\r\n\r\n");
    socket.send(bytes);
  };
}

}  // namespace runnel::test
