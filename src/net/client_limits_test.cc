// The client and servers that are slow, broken, lying or gone; and its end.
#include <gtest/gtest.h>
#include <poll.h>

#include <future>

#include "net/client.h"
#include "net/fetch_async.h"
#include "support/bodies.h"
#include "support/raw_socket.h"
#include "support/run_coroutine.h"
#include "support/scripted_server.h"

namespace runnel::net {
namespace {

using std::chrono::milliseconds;
using test::answer;
using test::RawSocket;
using test::ScriptedServer;

// Sends these bytes, then nothing until the client goes.
ScriptedServer::Script send_and_stall(std::string bytes) {
  return [bytes = std::move(bytes)](RawSocket& socket) {
    socket.read_until("\r\n\r\n");
    socket.send(bytes);
    socket.read_to_end();
  };
}

// The error of a GET from a server that answers these bytes.
Error error_of(std::string bytes) {
  const ScriptedServer server(answer(std::move(bytes)));
  Client client;
  const auto response = client.fetch(ClientRequest(server.url("/x?token=secret")), 1'000'000);
  EXPECT_FALSE(response);
  if (response) return Error(Code::kExists, "there was a response");
  EXPECT_NE(response.error().message.find("127.0.0.1"), std::string::npos)
      << response.error().message;
  EXPECT_EQ(response.error().message.find("secret"), std::string::npos) << response.error().message;
  return response.error();
}

TEST(ClientLimits, NeverTakesAPartForTheWhole) {
  for (const auto* bytes : {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
                            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
                            "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\nhalf",
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0",
                            "HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nhalf"})
    EXPECT_EQ(error_of(bytes).code, Code::kUnavailable) << bytes;
}

TEST(ClientLimits, RefusesAMalformedHead) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  for (const auto& bytes :
       {std::string(""), std::string("garbage\r\n\r\n"), std::string("HTTP/1.1 20 OK\r\n\r\n"),
        std::string("HTTP/1.1 2000 OK\r\n\r\n"), std::string("<html>\r\n\r\n"),
        ok + "no colon\r\n\r\nbody", ok + "A: b\x01\r\n\r\n", ok + "Bad name: b\r\n\r\n",
        ok + "A: b" + std::string(1, '\0') + "c\r\n\r\n",
        ok + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody!",
        ok + "Content-Length: x\r\n\r\n", ok + "Content-Length: 4"})
    EXPECT_EQ(error_of(bytes).code, Code::kUnavailable) << bytes;
}

TEST(ClientLimits, BoundsTheHead) {
  std::string many = "HTTP/1.1 200 OK\r\n";
  for (size_t i = 0; i <= Headers::kMaxLines; ++i) many += "A: b\r\n";
  const std::string large =
      "HTTP/1.1 200 OK\r\nA: " + std::string(Headers::kMaxBytes, 'x') + "\r\n\r\n";
  std::string endless;
  for (int i = 0; i < 10'000; ++i) endless += "HTTP/1.1 100 Continue\r\n\r\n";

  for (const auto& bytes : {many + "\r\n", large, endless})
    EXPECT_EQ(error_of(bytes).code, Code::kUnavailable);
}

TEST(ClientLimits, BoundsABufferedBody) {
  const std::string bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345";
  const ScriptedServer server(answer(bytes));
  Client client;

  EXPECT_TRUE(client.fetch(ClientRequest(server.url("/")), 5));
  EXPECT_EQ(client.fetch(ClientRequest(server.url("/")), 4).error().code, Code::kExhausted);
  auto too_long = fetch_async(client, ClientRequest(server.url("/")), 4, {});
  EXPECT_EQ(test::run_coroutine(std::move(too_long)).error().code, Code::kExhausted);
}

TEST(ClientLimits, GivesUpAServerThatStalls) {
  for (const auto* bytes :
       {"", "HTTP/1.1 200 OK\r\nContent", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 10\r\n\r\n"}) {
    const ScriptedServer server(send_and_stall(bytes));
    Client client;
    ClientRequest request(server.url("/"));
    request.stall_timeout = milliseconds(50);

    const auto response = client.fetch(request, 100);

    ASSERT_FALSE(response) << bytes;
    EXPECT_EQ(response.error().code, Code::kUnavailable);
    EXPECT_NE(response.error().message.find("no byte for 0.05 s"), std::string::npos)
        << response.error().message;
  }
}

TEST(ClientLimits, GivesUpAnUploadThatNobodyTakes) {
  const auto deaf = [](RawSocket& socket) {
    pollfd gone{.fd = socket.fd(), .events = POLLRDHUP, .revents = 0};
    ::poll(&gone, 1, 20'000);
  };
  const ScriptedServer server(deaf);
  Client client;
  ClientRequest request("PUT", server.url("/"));
  request.body = UploadFile(test::file_of(std::string(32'000'000, 'x')), 0, 32'000'000);
  request.stall_timeout = milliseconds(100);

  EXPECT_EQ(client.fetch(request, 100).error().code, Code::kUnavailable);
}

TEST(ClientLimits, BoundsTheWholeTransfer) {
  const auto drip = [](RawSocket& socket) {
    socket.read_until("\r\n\r\n");
    socket.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    while (socket.send("x")) {
    }
  };
  const ScriptedServer server(drip);
  Client client;
  ClientRequest request(server.url("/"));
  request.total_timeout = milliseconds(20);

  const auto response = client.fetch(request, 1'000'000);

  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Code::kUnavailable);
}

TEST(ClientLimits, GivesUpWaitingForAFreeConnection) {
  const ScriptedServer server(send_and_stall(""));
  Client::Options options;
  options.max_connections_per_host = 1;
  options.queue_timeout = milliseconds(50);
  Client client(options);
  client.start(ClientRequest(server.url("/first")), std::make_shared<ResponseSink>(),
               [](Result<ResponseHead>) {});

  const auto second = client.fetch(ClientRequest(server.url("/second")), 100);

  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("/second: no connection became free"), std::string::npos)
      << second.error().message;
}

TEST(ClientLimits, SaysWhyThereIsNoConnection) {
  uint16_t free_port = 0;
  {
    const ScriptedServer server(answer(""));
    free_port = server.port();
  }
  Client client;

  const auto response =
      client.fetch(ClientRequest(fmt::format("http://127.0.0.1:{}/?t=secret", free_port)), 100);

  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Code::kUnavailable);
  EXPECT_NE(response.error().message.find(fmt::format("127.0.0.1:{}/", free_port)),
            std::string::npos);
  EXPECT_NE(response.error().message.find("Couldn't connect"), std::string::npos)
      << response.error().message;
  EXPECT_EQ(response.error().message.find("secret"), std::string::npos);
}

TEST(ClientLimits, SaysThatANameDoesNotExist) {
  Client client;

  const auto response = client.fetch(ClientRequest("http://no-such-host.invalid/"), 100);

  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Code::kUnavailable);
  EXPECT_NE(response.error().message.find("no-such-host.invalid"), std::string::npos);
}

class RefusingSink final : public ResponseSink {
 public:
  Result<void> data(Bytes) override { return fail(Code::kExhausted, "the disk is full"); }
};

TEST(ClientLimits, EndsWithTheErrorOfTheSink) {
  const ScriptedServer server(answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345"));
  Client client;
  std::promise<Result<ResponseHead>> ended;

  client.start(ClientRequest(server.url("/")), std::make_shared<RefusingSink>(),
               [&](Result<ResponseHead> head) { ended.set_value(std::move(head)); });

  EXPECT_EQ(ended.get_future().get().error(), Error(Code::kExhausted, "the disk is full"));
}

TEST(ClientLimits, FailsWhenTheFileToUploadIsTooShort) {
  const ScriptedServer server(send_and_stall(""));
  Client client;
  ClientRequest request("PUT", server.url("/"));
  request.body = UploadFile(test::file_of("12345"), 0, 6);

  const auto response = client.fetch(request, 100);

  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Code::kInvalid) << response.error().message;
}

TEST(ClientCancel, EndsATransferOnce) {
  const ScriptedServer server(send_and_stall("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"));
  Client client;
  std::promise<Result<ResponseHead>> done;
  std::atomic<int> calls = 0;

  const auto id = client.start(ClientRequest(server.url("/")), std::make_shared<ResponseSink>(),
                               [&](Result<ResponseHead> result) {
                                 if (++calls == 1) done.set_value(std::move(result));
                               });
  client.cancel(id);
  const auto result = done.get_future().get();
  client.cancel(id);
  client.cancel(id + 1000);

  EXPECT_EQ(result.error().code, Code::kCancelled);
  EXPECT_FALSE(client.fetch(ClientRequest("http://127.0.0.1:1/"), 1));  // the thread has been round
  EXPECT_EQ(calls, 1);
}

TEST(ClientCancel, HappensToAllAtTheEndOfTheClient) {
  const ScriptedServer server(send_and_stall(""));
  std::atomic<int> cancelled = 0;
  std::atomic<int> restarted = 0;
  {
    Client client;
    for (int i = 0; i < 10; ++i)
      client.start(ClientRequest(server.url("/")), std::make_shared<ResponseSink>(),
                   [&](Result<ResponseHead> result) {
                     if (result.error().code == Code::kCancelled) ++cancelled;
                     client.start(ClientRequest(server.url("/")), std::make_shared<ResponseSink>(),
                                  [&](Result<ResponseHead> again) {
                                    if (again.error().code == Code::kCancelled) ++restarted;
                                  });
                   });
  }

  EXPECT_EQ(cancelled, 10);
  EXPECT_EQ(restarted, 10);
}

TEST(ClientShutdown, EndsWhatIsUnderWayAndWhatComesAfter) {
  const ScriptedServer server(send_and_stall("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"));
  Client client;
  auto waiting = std::async(std::launch::async,
                            [&] { return client.fetch(ClientRequest(server.url("/")), 100); });
  auto resting =
      std::async(std::launch::async, [&] { return client.rest(std::chrono::minutes(5)); });

  client.shutdown();

  EXPECT_EQ(waiting.get().error().code, Code::kCancelled);
  EXPECT_FALSE(resting.get());
  EXPECT_FALSE(client.rest(std::chrono::minutes(5)));
  EXPECT_EQ(client.fetch(ClientRequest(server.url("/")), 100).error().code, Code::kCancelled);
  client.cancel(1);
  client.resume(1);
}

TEST(ClientShutdown, IsNotWaitedForByWhoRestsForAMoment) {
  Client client;

  EXPECT_TRUE(client.rest(std::chrono::milliseconds(1)));
}

}  // namespace
}  // namespace runnel::net
