#include "net/transfer_report.h"

#include <gtest/gtest.h>

#include <mutex>
#include <vector>

#include "net/client.h"
#include "net/fetch_async.h"
#include "support/run_coroutine.h"
#include "support/scripted_server.h"

namespace runnel::net {
namespace {

using test::answer;
using test::ScriptedServer;

class Heard final : public TransferObserver {
 public:
  Heard() { observe_transfers(this); }
  ~Heard() override { observe_transfers(nullptr); }
  void transfer(const TransferReport& report) override {
    const std::lock_guard lock(mutex_);
    (report.ended == SteadyTime() ? begun_ : ended_).push_back(report);
  }
  std::vector<TransferReport> begun() const {
    const std::lock_guard lock(mutex_);
    return begun_;
  }
  std::vector<TransferReport> ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<TransferReport> begun_;
  std::vector<TransferReport> ended_;
};

TEST(TransferReport, IsOfACoroutinesRequestWhatItSays) {
  Heard heard;
  const ScriptedServer server(answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
  Client client;
  const TransferScope other("registry.example/other", "node");

  const auto response = test::run_coroutine(fetch_async(client, ClientRequest(server.url("/token")),
                                                        100, {"registry.example/a", "token"}));

  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(as_text(response->body), "hello");
  ASSERT_EQ(heard.ended().size(), 1u);
  EXPECT_EQ(heard.ended()[0].about, "registry.example/a");
  EXPECT_STREQ(heard.ended()[0].purpose, "token");
}

TEST(TransferReport, TellsWhatARequestTookAndWasAbout) {
  Heard heard;
  const ScriptedServer server(answer("HTTP/1.1 206 Some\r\nContent-Length: 5\r\n\r\nhello"));
  Client client;
  ClientRequest request(server.url("/v2/a/blobs/x?token=secret"));
  request.headers.set("Range", "bytes=0-4");
  {
    const TransferScope outer("registry.example/outer", "node");
    const TransferScope scope("registry.example/a", "demand");
    ASSERT_TRUE(client.fetch(std::move(request), 100));
  }

  ASSERT_EQ(heard.begun().size(), 1u);
  ASSERT_EQ(heard.ended().size(), 1u);
  const auto report = heard.ended()[0];
  EXPECT_EQ(heard.begun()[0].number, report.number);
  EXPECT_EQ(report.about, "registry.example/a");
  EXPECT_STREQ(report.purpose, "demand");
  EXPECT_EQ(report.method, "GET");
  EXPECT_EQ(report.url, server.url("/v2/a/blobs/x"));
  EXPECT_EQ(report.range, "bytes=0-4");
  EXPECT_EQ(report.status, 206);
  EXPECT_EQ(report.bytes, 5u);
  EXPECT_TRUE(report.connected);
  EXPECT_EQ(report.error, "");
  EXPECT_LE(report.asked, report.sent);
  EXPECT_LE(report.sent, report.first_byte);
  EXPECT_LE(report.first_byte, report.ended);
  EXPECT_EQ(TransferScope::current().about, "");
}

TEST(TransferReport, TellsEachHopOfARedirect) {
  Heard heard;
  const ScriptedServer server({answer("HTTP/1.1 307 There\r\nLocation: /b\r\n"
                                      "Content-Length: 0\r\nConnection: close\r\n\r\n"),
                               answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")});
  Client client;
  ASSERT_TRUE(client.fetch(ClientRequest(server.url("/a")), 100));

  const auto ended = heard.ended();
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_EQ(ended[0].url, server.url("/a"));
  EXPECT_EQ(ended[0].status, 307);
  EXPECT_EQ(ended[1].url, server.url("/b"));
  EXPECT_EQ(ended[1].status, 200);
  EXPECT_NE(ended[0].number, ended[1].number);
  EXPECT_GE(ended[1].asked, ended[0].ended);
}

TEST(TransferReport, TellsOfARequestThatGotNoAnswer) {
  Heard heard;
  const ScriptedServer server([](test::RawSocket&) {});
  Client client;
  EXPECT_FALSE(client.fetch(ClientRequest(server.url("/a")), 100));

  ASSERT_EQ(heard.ended().size(), 1u);
  EXPECT_EQ(heard.ended()[0].status, 0);
  EXPECT_EQ(heard.ended()[0].first_byte, SteadyTime());
  EXPECT_NE(heard.ended()[0].error, "");
}

}  // namespace
}  // namespace runnel::net
