// The client as its callers see it, against servers that behave.
#include "net/client.h"

#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <set>

#include "net/server.h"
#include "support/bodies.h"
#include "support/raw_socket.h"
#include "support/scripted_server.h"
#include "support/serving.h"

namespace runnel::net {
namespace {

using test::answer;
using test::pattern;
using test::RawSocket;
using test::ScriptedServer;
using test::Serving;

// Says what it got: "METHOD path|Name=value…|body".
awaitable<Response> say_all(Request& request, RequestBody& body) {
  auto all = co_await test::read_all(body);
  std::string said = request.method + " " + request.target;
  for (const auto* name : {"Authorization", "Cookie", "Content-Type", "X"})
    if (const auto value = request.headers.first(name)) said += fmt::format("|{}={}", name, *value);
  co_return Response(200, Headers(), said + "|" + all.value_or("a broken body"));
}

awaitable<Response> redirect_to(const std::string location, int status = 307) {
  Headers headers;
  headers.add("Location", location);
  co_return Response(status, std::move(headers), std::string("look there"));
}

std::string fetch_text(Client& client, ClientRequest request) {
  auto response = client.fetch(std::move(request), 1'000'000);
  return response ? std::string(as_text(response->body)) : response.error().message;
}

TEST(Client, SendsEveryKindOfBody) {
  const Serving serving(say_all);
  Client client;
  const auto with_body = [&](const char* method, auto body) {
    ClientRequest request(method, serving.url("/x"));
    request.body = std::move(body);
    return fetch_text(client, std::move(request));
  };
  const auto file = test::file_of("0123456789");

  EXPECT_EQ(with_body("PUT", std::string("text")), "PUT /x|text");
  EXPECT_EQ(with_body("PATCH", UploadFile(file, 2, 5)), "PATCH /x|23456");
  EXPECT_EQ(with_body("POST", std::monostate()), "POST /x|");
  EXPECT_EQ(with_body("POST", std::string()), "POST /x|");
  EXPECT_EQ(with_body("DELETE", std::monostate()), "DELETE /x|");
  EXPECT_EQ(with_body("GET", std::monostate()), "GET /x|");
}

TEST(Client, UploadsLargeFiles) {
  const std::string bytes = pattern(6'000'000);
  const Serving serving([](Request&, RequestBody& body) -> awaitable<Response> {
    auto all = co_await test::read_all(body);
    co_return Response(200, Headers(), all.value());
  });
  Client client;
  ClientRequest request("PUT", serving.url("/"));
  request.body = UploadFile(test::file_of(bytes), 1, bytes.size() - 1);

  auto response = client.fetch(request, bytes.size()).value();

  EXPECT_TRUE(as_text(response.body) == bytes.substr(1));
}

TEST(Client, SendsHeadersAsTheyAre) {
  const Serving serving([](Request& request, RequestBody&) -> awaitable<Response> {
    std::string said;
    for (const auto& line : request.headers) said += line.name + "=" + line.value + "\n";
    co_return Response(200, Headers(), said);
  });
  Client client;
  ClientRequest request(serving.url("/"));
  request.headers.add("Accept", "a/b");
  request.headers.add("Accept", "c/d;q=0.5");
  request.headers.add("Empty", "");

  const auto said = fetch_text(client, request);

  EXPECT_EQ(said, fmt::format("Host=127.0.0.1:{}\nAccept=a/b\nAccept=c/d;q=0.5\nEmpty=\n"
                              "User-Agent=runnel/" RUNNEL_VERSION "\n",
                              serving.port()));
}

TEST(Client, RefusesToSendWhatWouldBeMoreThanARequest) {
  const ScriptedServer server(answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  Client client;
  std::vector<ClientRequest> requests(6, ClientRequest(server.url("/")));
  requests[0].headers.add("A", "b\r\nC: d");
  requests[1].headers.add("A:b\r\nC", "d");
  requests[2].method = "GET / HTTP/1.1\r\nA: b\r\n\r\nGET";
  requests[3].url += " HTTP/1.1\r\nA: b\r\n\r\n";
  requests[4].headers.add("Content-Length", "5");
  requests[5].url = "file:///etc/passwd";

  for (const auto& request : requests)
    EXPECT_EQ(client.fetch(request, 100).error().code, Code::kInvalid) << request.url;
  EXPECT_EQ(server.connections(), 0u);
}

TEST(Client, DoesNotDecodeContent) {
  const ScriptedServer server(
      answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
             "Content-Length: 8\r\n\r\nnot gzip"));
  Client client;

  EXPECT_EQ(fetch_text(client, ClientRequest(server.url("/"))), "not gzip");
}

TEST(Client, IgnoresInterimResponsesAndTrailers) {
  const ScriptedServer server(
      answer("HTTP/1.1 103 Early Hints\r\nA: 1\r\n\r\n"
             "HTTP/1.1 200 OK\r\nB: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
             "4\r\nbody\r\n0\r\nC: 3\r\n\r\n"));
  Client client;

  auto response = client.fetch(ClientRequest(server.url("/")), 100).value();

  EXPECT_EQ(response.head.status, 200);
  EXPECT_EQ(response.head.headers, (Headers{{"B", "2"}, {"Transfer-Encoding", "chunked"}}));
  EXPECT_EQ(as_text(response.body), "body");
}

TEST(Client, GivesTheLengthOfAHeadResponse) {
  const ScriptedServer server(answer("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"));
  Client client;

  auto response = client.fetch(ClientRequest("HEAD", server.url("/")), 100).value();

  EXPECT_EQ(response.head.headers.first("Content-Length"), "5000");
  EXPECT_TRUE(response.body.empty());
}

TEST(Client, ReturnsEveryStatusAsAnAnswer) {
  for (const int status : {204, 304, 404, 500}) {
    const ScriptedServer server(
        answer(fmt::format("HTTP/1.1 {} \r\nContent-Length: 0\r\n\r\n", status)));
    Client client;

    EXPECT_EQ(client.fetch(ClientRequest(server.url("/")), 100).value().head.status, status);
  }
}

TEST(Client, KeepsConnectionsForLaterRequests) {
  std::mutex mutex;
  std::set<std::string> peers;
  const Serving serving([&](Request& request, RequestBody&) -> awaitable<Response> {
    const std::lock_guard lock(mutex);
    peers.insert(request.peer);
    co_return Response(200);
  });
  Client client;

  for (int i = 0; i < 20; ++i) ASSERT_TRUE(client.fetch(ClientRequest(serving.url("/")), 100));

  EXPECT_EQ(peers.size(), 1u);
}

TEST(Client, OpensNoMoreConnectionsThanItMay) {
  std::mutex mutex;
  std::set<std::string> peers;
  const Serving serving([&](Request& request, RequestBody&) -> awaitable<Response> {
    const std::lock_guard lock(mutex);
    peers.insert(request.peer);
    co_return Response(200);
  });
  Client::Options options;
  options.max_connections_per_host = 3;
  Client client(options);
  std::promise<void> all;
  std::atomic<int> left = 200;

  for (int i = 0; i < 200; ++i)
    client.start(ClientRequest(serving.url("/")), std::make_shared<ResponseSink>(),
                 [&](Result<ResponseHead>) {
                   if (--left == 0) all.set_value();
                 });
  all.get_future().wait();

  EXPECT_LE(peers.size(), 3u);
}

TEST(Client, TriesAgainWhenAKeptConnectionHasDied) {
  const auto once = [](RawSocket& socket) {
    socket.read_until("\r\n\r\n");
    socket.read_exactly(4);
    socket.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  };
  const ScriptedServer server(once);
  Client client;
  ClientRequest request("PUT", server.url("/"));
  request.body = std::string("body");

  for (int i = 0; i < 5; ++i) EXPECT_EQ(fetch_text(client, request), "ok");
}

TEST(ClientRedirect, IsFollowedWithTheBody) {
  const Serving serving([](Request& request, RequestBody& body) -> awaitable<Response> {
    if (request.path == "/from") co_return co_await redirect_to("to?a=b");
    co_return co_await say_all(request, body);
  });
  Client client;
  ClientRequest request("PUT", serving.url("/from"));
  request.headers.add("Authorization", "Bearer x");
  request.headers.add("Content-Type", "c/d");
  request.body = std::string("body");

  auto response = client.fetch(request, 1000).value();

  EXPECT_EQ(as_text(response.body), "PUT /to?a=b|Authorization=Bearer x|Content-Type=c/d|body");
  EXPECT_EQ(response.head.url, serving.url("/to?a=b"));
}

TEST(ClientRedirect, KeepsCredentialsFromOtherHosts) {
  const Serving other(say_all);
  const Serving serving([&](Request& request, RequestBody&) -> awaitable<Response> {
    if (request.path == "/port") co_return co_await redirect_to(other.url("/there"));
    co_return co_await redirect_to(
        fmt::format("http://localhost:{}/port", request.query.first("p").value()));
  });
  Client client;
  const auto fetch = [&](std::string path) {
    ClientRequest request(serving.url(path));
    request.headers.add("Authorization", "Bearer secret");
    request.headers.add("Cookie", "secret");
    request.headers.add("X", "kept");
    return fetch_text(client, std::move(request));
  };

  EXPECT_EQ(fetch("/port"), "GET /there|X=kept|");
  EXPECT_EQ(fetch(fmt::format("/name?p={}", serving.port())), "GET /there|X=kept|");
}

TEST(ClientRedirect, DoesNotRegainCredentialsOnTheWayBack) {
  std::string home;
  const Serving other(
      [&](Request&, RequestBody&) -> awaitable<Response> { co_return co_await redirect_to(home); });
  const Serving serving([&](Request& request, RequestBody& body) -> awaitable<Response> {
    if (request.path == "/away") co_return co_await redirect_to(other.url("/"));
    co_return co_await say_all(request, body);
  });
  home = serving.url("/home");
  Client client;
  ClientRequest request(serving.url("/away"));
  request.headers.add("Authorization", "Bearer secret");

  EXPECT_EQ(fetch_text(client, request), "GET /home|");
}

TEST(ClientRedirect, TurnsIntoGetAfterSeeOther) {
  const Serving serving([](Request& request, RequestBody& body) -> awaitable<Response> {
    if (request.path == "/from") co_return co_await redirect_to("/to", 303);
    co_return co_await say_all(request, body);
  });
  Client client;
  ClientRequest request("POST", serving.url("/from"));
  request.body = std::string("body");

  EXPECT_EQ(fetch_text(client, request), "GET /to|");
}

TEST(ClientRedirect, EndsAfterSoMany) {
  const Serving serving([](Request&, RequestBody&) -> awaitable<Response> {
    co_return co_await redirect_to("/again?token=secret");
  });
  Client client;
  ClientRequest request(serving.url("/"));

  const auto many = client.fetch(request, 100);
  request.max_redirects = 0;
  const auto none = client.fetch(request, 100);

  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().code, Code::kUnavailable);
  EXPECT_EQ(many.error().message.find("secret"), std::string::npos);
  EXPECT_EQ(none.value().head.status, 307);
  EXPECT_EQ(as_text(none.value().body), "look there");
}

TEST(ClientRedirect, GoesNowhereButToHttp) {
  Client client;
  for (const auto* location : {"file:///etc/passwd", "ftp://127.0.0.1/", "http://", "http://:1/"}) {
    const ScriptedServer server(answer(
        fmt::format("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", location)));

    EXPECT_EQ(client.fetch(ClientRequest(server.url("/")), 100).error().code, Code::kUnavailable)
        << location;
  }
}

TEST(ClientRedirect, DoesNotReadALongBodyThatNobodyWants) {
  const Serving target(say_all);
  const auto endless = [&](RawSocket& socket) {
    socket.read_until("\r\n\r\n");
    socket.send(
        fmt::format("HTTP/1.1 302 Found\r\nLocation: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
                    target.url("/to")));
    while (socket.send("1000\r\n" + std::string(4096, 'x') + "\r\n")) {
    }
  };
  const ScriptedServer server(endless);
  Client client;

  EXPECT_EQ(fetch_text(client, ClientRequest(server.url("/"))), "GET /to|");
}

}  // namespace
}  // namespace runnel::net
