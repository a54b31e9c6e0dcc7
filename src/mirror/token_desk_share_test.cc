// Registries whose token servers answer late, and others beside them.
#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <semaphore>

#include "mirror/mirror.h"
#include "support/serving.h"

namespace runnel::mirror {
namespace {

using net::Headers;
using net::Response;

constexpr auto kLong = std::chrono::seconds(10);

// A registry and its token server, which can be made to keep its answers back.
class Registry final : public net::Handler {
 public:
  Registry() : server_(net::Server::listen({}, *this).value()) {}
  ~Registry() override { release(); }

  std::string host() const { return fmt::format("127.0.0.1:{}", server_->port()); }
  void hold() {
    const std::lock_guard lock(mutex_);
    holds_ = true;
  }
  void release() {
    std::unique_lock lock(mutex_);
    holds_ = false;
    const auto held = std::exchange(held_, {});
    lock.unlock();
    for (const auto& resume : held) resume();
  }
  // So many requests have come to the token server, one after the other or at once.
  bool has_come(int requests) {
    while (requests > 0 && come_.try_acquire_for(kLong)) --requests;
    return requests == 0;
  }

  net::awaitable<Response> handle(net::Request& request, net::RequestBody&) override {
    if (request.path == "/v2/") {
      const auto challenge = fmt::format("Bearer realm=\"http://{}/token\"", host());
      co_return Response(401, Headers{{"WWW-Authenticate", challenge}});
    }
    come_.release();
    std::function<void(net::Resume)> start = [this](net::Resume resume) {
      std::unique_lock lock(mutex_);
      if (holds_) return held_.push_back(std::move(resume));
      lock.unlock();
      resume();
    };
    co_await net::suspend(std::move(start));
    co_return Response(200, Headers(), std::string(R"({"token":"t"})"));
  }

 private:
  std::mutex mutex_;
  bool holds_ = false;
  std::vector<net::Resume> held_;
  std::counting_semaphore<> come_{0};
  std::unique_ptr<net::Server> server_;
};

class TokenDeskShare : public testing::Test {
 protected:
  // The status of a client's request for a token of that registry.
  int ask(const Registry& registry) {
    net::ClientRequest request(desk_server_.url(TokenDesk::kPath) + "?ns=" + registry.host());
    request.total_timeout = kLong;
    const auto answer = client_.fetch(std::move(request), 1 << 20);
    return answer ? answer->head.status : 0;
  }
  std::future<int> begin_to_ask(const Registry& registry) {
    return std::async(std::launch::async, [&] { return ask(registry); });
  }

  net::Client client_;
  remote::Hosts hosts_;
  SystemClock clock_;
  remote::ShownCredentials shown_{clock_};
  TokenDesk desk_{client_, hosts_, shown_, {.of_one_host = 8, .of_all = 9}};
  test::Serving desk_server_{
      [this](net::Request& request, net::RequestBody& body) -> net::awaitable<Response> {
        const std::string host(request.query.first("ns").value());
        co_return co_await desk_.handle(request, body, host);
      }};
};

TEST_F(TokenDeskShare, OfARegistryWithASlowTokenServerIsAllThatItHoldsUp) {
  Registry slow;
  Registry good;
  slow.hold();
  std::vector<std::future<int>> waiting;
  for (int i = 0; i < 8; ++i) waiting.push_back(begin_to_ask(slow));
  ASSERT_TRUE(slow.has_come(8));

  EXPECT_EQ(ask(slow), 503) << "containerd goes on without the mirror";
  EXPECT_EQ(ask(good), 200);
  good.hold();
  auto late = begin_to_ask(good);
  EXPECT_TRUE(good.has_come(2));
  EXPECT_EQ(ask(good), 503) << "no more than so many wait";

  good.release();
  slow.release();
  EXPECT_EQ(late.get(), 200);
  for (auto& one : waiting) EXPECT_EQ(one.get(), 200);
  EXPECT_EQ(ask(slow), 200) << "what has ended takes no share";
}

}  // namespace
}  // namespace runnel::mirror
