// A registry that is told to stop while a push runs.
#include <gtest/gtest.h>

#include <thread>

#include "support/raw_socket.h"
#include "support/registry_fixture.h"

namespace runnel::registry {
namespace {

constexpr auto kLong = std::chrono::seconds(60);

class RegistryStop : public test::RegistryFixture {
 protected:
  void start_with_drain(std::chrono::seconds drain) {
    registry_.reset();
    config_.drain = drain;
    start();
  }
  // Of "the bytes", of which it has got nothing yet.
  test::RawSocket begin_push() {
    test::RawSocket socket(registry_->port());
    const auto digest = digest_of("the bytes");
    EXPECT_TRUE(socket.send("PUT " + begin("a") + "?digest=" + digest +
                            " HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
                            "Expect: 100-continue\r\n\r\n"));
    EXPECT_EQ(socket.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    return socket;
  }
  static bool takes_connections(uint16_t port) {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
};

TEST_F(RegistryStop, TakesNoNewConnectionsAndLetsARunningPushEnd) {
  start_with_drain(kLong);
  auto push = begin_push();
  const auto port = registry_->port();

  std::thread stopping([this] { registry_.reset(); });
  const auto until = clock_.now() + kLong / 2;
  while (takes_connections(port) && clock_.now() < until) std::this_thread::yield();
  EXPECT_LT(clock_.now(), until);
  push.send("the bytes");
  const auto answer = push.read_to_end();
  stopping.join();

  EXPECT_TRUE(answer.starts_with("HTTP/1.1 201")) << answer;
}

TEST_F(RegistryStop, WaitsForAPushNoLongerThanItsConfigurationSays) {
  start_with_drain(std::chrono::seconds(0));
  auto push = begin_push();

  const auto begun = clock_.now();
  registry_.reset();

  EXPECT_LT(clock_.now() - begun, Config().drain / 2) << "what it is without the key";
  EXPECT_EQ(push.read_to_end(), "");
}

}  // namespace
}  // namespace runnel::registry
