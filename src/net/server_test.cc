// The server as a well-behaved peer sees it.
#include "net/server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <future>
#include <thread>

#include "net/client.h"
#include "support/bodies.h"
#include "support/raw_socket.h"
#include "support/serving.h"
#include "support/temp_dir.h"

namespace runnel::net {
namespace {

using test::file_of;
using test::pattern;
using test::PiecesStream;
using test::RawSocket;
using test::Serving;

std::string get(std::string_view path, std::string_view more = "") {
  return fmt::format("GET {} HTTP/1.1\r\nHost: h\r\n{}\r\n", path, more);
}

awaitable<Response> say_path(Request& request, RequestBody&) {
  Headers headers;
  headers.add("Content-Type", "text/plain");
  co_return Response(200, std::move(headers), request.method + " " + request.path);
}

awaitable<Response> echo(Request&, RequestBody& body) {
  auto all = co_await test::read_all(body);
  if (!all) co_return Response(400, Headers(), all.error().message);
  co_return Response(200, Headers(), *std::move(all));
}

UniqueFd connected_to(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return socket;
}

std::string body_of(const std::string& response) {
  return response.substr(response.find("\r\n\r\n") + 4);
}

TEST(Server, AnswersOurClient) {
  const Serving serving(say_path);
  Client client;

  auto response = client.fetch(ClientRequest(serving.url("/v2/a%20b")), 1024).value();

  EXPECT_EQ(response.head.status, 200);
  EXPECT_EQ(response.head.headers.first("content-type"), "text/plain");
  EXPECT_TRUE(response.head.headers.has("Date"));
  EXPECT_EQ(as_text(response.body), "GET /v2/a b");
}

TEST(Server, TellsTheHandlerWhoAsks) {
  const Serving serving([](Request& request, RequestBody&) -> awaitable<Response> {
    co_return Response(200, Headers(), request.peer);
  });
  RawSocket socket(serving.port());

  socket.send(get("/"));

  EXPECT_TRUE(body_of(socket.read_response()).starts_with("127.0.0.1:"));
}

TEST(Server, AnswersPipelinedRequestsInOrder) {
  const Serving serving([](Request& request, RequestBody& body) -> awaitable<Response> {
    auto all = co_await test::read_all(body);
    co_return Response(200, Headers(), request.path + all.value());
  });
  RawSocket socket(serving.port());

  socket.send(get("/1") + "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab" +
              "\r\n" +  // an empty line too many
              "POST /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" +
              "2\r\ncd\r\n0\r\n\r\n" + get("/4"));

  EXPECT_EQ(body_of(socket.read_response()), "/1");
  EXPECT_EQ(body_of(socket.read_response()), "/2ab");
  EXPECT_EQ(body_of(socket.read_response()), "/3cd");
  EXPECT_EQ(body_of(socket.read_response()), "/4");
}

TEST(Server, ServesTenThousandRequestsOnOneConnection) {
  const Serving serving(say_path);
  RawSocket socket(serving.port());
  std::thread sender([&] {
    for (int i = 0; i < 10'000; ++i) socket.send(get(fmt::format("/{}", i)));
  });

  size_t right = 0;
  for (int i = 0; i < 10'000; ++i)
    if (body_of(socket.read_response()) == fmt::format("GET /{}", i)) ++right;
  sender.join();

  EXPECT_EQ(right, 10'000u);
}

TEST(Server, SendsRangesOfFiles) {
  const std::string bytes = pattern(8'000'000);
  const auto file = file_of(bytes);
  const Serving serving([&](Request& request, RequestBody&) -> awaitable<Response> {
    const auto offset = std::stoul(std::string(*request.query.first("offset")));
    const auto length = std::stoul(std::string(*request.query.first("length")));
    co_return Response(206, Headers(), FileRange(file, offset, length));
  });
  Client client;

  for (const auto& [offset, length] : {std::pair<size_t, size_t>{0, 8'000'000},
                                       {1'234'567, 5'000'001},
                                       {7'999'999, 1},
                                       {100, 0}}) {
    const auto url = serving.url(fmt::format("/?offset={}&length={}", offset, length));
    auto response = client.fetch(ClientRequest(url), bytes.size()).value();
    EXPECT_EQ(response.head.headers.first("Content-Length"), std::to_string(length));
    EXPECT_TRUE(as_text(response.body) == std::string_view(bytes).substr(offset, length));
  }
}

TEST(Server, SendsAFileToAPeerThatReadsSlowly) {
  const std::string bytes = pattern(16'000'000);
  const auto file = file_of(bytes);
  const Serving serving([&](Request& request, RequestBody&) -> awaitable<Response> {
    if (request.path == "/other") co_return Response(200, Headers(), std::string("here"));
    co_return Response(200, Headers(), FileRange(file, 0, 16'000'000));
  });
  RawSocket slow(serving.port());
  slow.send(get("/file"));
  EXPECT_TRUE(slow.read_until("\r\n\r\n").starts_with("HTTP/1.1 200 "));

  // Whatever fits into the sockets' buffers is there now; others are served meanwhile.
  for (int i = 0; i < 8; ++i) {
    RawSocket other(serving.port());
    other.send(get("/other"));
    EXPECT_EQ(body_of(other.read_response()), "here");
  }

  EXPECT_TRUE(slow.read_exactly(bytes.size()) == bytes);
}

TEST(Server, SendsStreamsWithAndWithoutALength) {
  const std::vector<std::string> pieces = {"one ", "two ", std::string(60'000, '3')};
  const std::string all = pieces[0] + pieces[1] + pieces[2];
  const Serving serving([&](Request& request, RequestBody&) -> awaitable<Response> {
    std::optional<uint64_t> length;
    if (request.path == "/length") length = all.size();
    co_return Response(200, Headers(), std::make_unique<PiecesStream>(pieces), length);
  });
  Client client;

  auto with = client.fetch(ClientRequest(serving.url("/length")), 100'000).value();
  auto without = client.fetch(ClientRequest(serving.url("/chunked")), 100'000).value();

  EXPECT_EQ(as_text(with.body), all);
  EXPECT_EQ(with.head.headers.first("Content-Length"), std::to_string(all.size()));
  EXPECT_EQ(as_text(without.body), all);
  EXPECT_EQ(without.head.headers.first("Transfer-Encoding"), "chunked");
}

TEST(Server, AnswersHeadLikeGetButWithoutTheBody) {
  const auto file = file_of("12345");
  const Serving serving([&](Request& request, RequestBody&) -> awaitable<Response> {
    if (request.path == "/file") co_return Response(200, Headers(), FileRange(file, 0, 5));
    if (request.path == "/length") co_return Response(200, Headers(), std::string(), 5);
    const std::vector<std::string> pieces = {"12345"};
    co_return Response(200, Headers(), std::make_unique<PiecesStream>(pieces), 5);
  });
  RawSocket socket(serving.port());

  for (const auto* path : {"/file", "/stream", "/length"}) {
    socket.send(fmt::format("HEAD {} HTTP/1.1\r\nHost: h\r\n\r\n", path));
    const auto head = socket.read_until("\r\n\r\n");
    EXPECT_NE(head.find("Content-Length: 5\r\n"), std::string::npos) << head;
  }
  // Nothing came between the heads.
  socket.send(get("/file"));
  EXPECT_TRUE(socket.read_response().ends_with("\r\n\r\n12345"));
}

TEST(Server, ReadsLargeBodies) {
  const std::string bytes = pattern(5'000'000);
  const Serving serving(echo);
  Client client;
  ClientRequest request("PUT", serving.url("/"));
  request.body = bytes;

  auto response = client.fetch(request, bytes.size()).value();

  EXPECT_TRUE(as_text(response.body) == bytes);
}

TEST(Server, SaysContinueWhenTheHandlerReads) {
  const Serving serving(echo);
  RawSocket socket(serving.port());

  socket.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  const auto interim = socket.read_until("\r\n\r\n");
  socket.send("body");

  EXPECT_EQ(interim, "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(body_of(socket.read_response()), "body");
}

TEST(Server, NeverSaysContinueWhenTheHandlerDoesNotRead) {
  const Serving serving(
      [](Request&, RequestBody&) -> awaitable<Response> { co_return Response(401); });
  RawSocket socket(serving.port());

  socket.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  const auto response = socket.read_to_end();

  EXPECT_TRUE(response.starts_with("HTTP/1.1 401 "));
  EXPECT_NE(response.find("Connection: close\r\n"), std::string::npos);
}

TEST(Server, DrainsASmallBodyThatTheHandlerLeft) {
  const Serving serving(say_path);
  RawSocket socket(serving.port());

  socket.send("PUT /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n");
  const auto first = socket.read_response();
  socket.send("left" + get("/2"));

  EXPECT_EQ(body_of(first), "PUT /1");
  EXPECT_EQ(body_of(socket.read_response()), "GET /2");
}

TEST(Server, LetsAPeerThatStillSendsReadTheAnswer) {
  Server::Options options;
  options.drain_limit = 1000;
  const Serving serving(
      [](Request&, RequestBody&) -> awaitable<Response> { co_return Response(413); }, options);
  RawSocket socket(serving.port());

  socket.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n");
  const std::string piece(1'000'000, 'x');
  for (int i = 0; i < 10; ++i) socket.send(piece);
  const auto response = socket.read_to_end();

  EXPECT_TRUE(response.starts_with("HTTP/1.1 413 "));
  EXPECT_FALSE(socket.was_reset());
}

TEST(Server, ClosesWhenThePeerAsksForIt) {
  const Serving serving(say_path);
  RawSocket socket(serving.port());

  socket.send(get("/", "Connection: close\r\n"));

  EXPECT_TRUE(socket.read_to_end().ends_with("GET /"));
}

TEST(Server, SpeaksToOldClients) {
  const Serving serving([](Request& request, RequestBody&) -> awaitable<Response> {
    if (request.path == "/text") co_return Response(200, Headers(), std::string("text"));
    const std::vector<std::string> pieces = {"a", "b"};
    co_return Response(200, Headers(), std::make_unique<PiecesStream>(pieces));
  });
  RawSocket socket(serving.port());

  socket.send("GET /text HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const auto kept = socket.read_response();
  socket.send("GET /stream HTTP/1.0\r\n\r\n");

  EXPECT_NE(kept.find("Connection: keep-alive\r\n"), std::string::npos);
  EXPECT_EQ(body_of(kept), "text");
  EXPECT_TRUE(socket.read_to_end().ends_with("\r\n\r\nab"));
}

TEST(Server, SurvivesAHandlerThatThrows) {
  const Serving serving([](Request& request, RequestBody&) -> awaitable<Response> {
    if (request.path == "/throw") throw std::runtime_error("a bug");
    co_return Response(200, Headers(), std::string("fine"));
  });
  RawSocket socket(serving.port());

  socket.send(get("/throw") + get("/next"));

  EXPECT_TRUE(socket.read_response().starts_with("HTTP/1.1 500 "));
  EXPECT_EQ(body_of(socket.read_response()), "fine");
}

TEST(Server, SendsNoHeaderThatAHandlerDidNotMean) {
  const Serving serving([](Request& request, RequestBody&) -> awaitable<Response> {
    Headers headers;
    headers.add("Location", request.path);
    co_return Response(202, std::move(headers));
  });
  RawSocket socket(serving.port());

  socket.send(get("/x%0d%0aSet-Cookie:%20a=b"));
  const auto response = socket.read_response();

  EXPECT_TRUE(response.starts_with("HTTP/1.1 500 "));
  EXPECT_EQ(response.find("Set-Cookie"), std::string::npos);
}

TEST(Server, ServesManyPeersAtOnce) {
  Server::Options options;
  options.threads = 3;
  const Serving serving(say_path, options);
  Client::Options client_options;
  client_options.max_connections_per_host = 64;
  Client client(client_options);
  std::atomic<int> right = 0;
  std::promise<void> all;
  std::atomic<int> left = 2000;

  for (int i = 0; i < 2000; ++i) {
    client.start(ClientRequest(serving.url("/x")), std::make_shared<ResponseSink>(),
                 [&](Result<ResponseHead> head) {
                   if (head && head->status == 200) ++right;
                   if (--left == 0) all.set_value();
                 });
  }
  all.get_future().wait();

  EXPECT_EQ(right, 2000);
}

TEST(Server, RunsBlockingWorkElsewhereAndComesBack) {
  WorkerPool pool(2);
  const Serving serving([&](Request& request, RequestBody&) -> awaitable<Response> {
    const auto io_thread = std::this_thread::get_id();
    auto work = [&request] {
      if (request.path == "/throw") throw std::runtime_error("the disk is gone");
      return std::this_thread::get_id();
    };
    const auto worker = co_await on_pool(pool, std::move(work));
    const bool apart = worker != io_thread;
    const bool back = std::this_thread::get_id() == io_thread;
    co_return Response(200, Headers(), fmt::format("{} {}", apart, back));
  });
  RawSocket socket(serving.port());

  for (int i = 0; i < 100; ++i) socket.send(get("/") + get("/throw"));

  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(body_of(socket.read_response()), "true true");
    EXPECT_TRUE(socket.read_response().starts_with("HTTP/1.1 500 "));
  }
}

TEST(Server, NamesThePortThatIsInUse) {
  const Serving first(say_path);
  test::FunctionHandler handler(say_path);
  Server::Options options;
  options.port = first.port();

  const auto second = Server::listen(options, handler);

  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kConflict);
  EXPECT_NE(second.error().message.find(std::to_string(first.port())), std::string::npos);
}

TEST(Server, ListensOnAUnixSocket) {
  const test::TempDir directory;
  const std::string path = directory.path() + "/control.sock";
  Server::Options options;
  options.address = "unix:" + path;
  test::FunctionHandler handler(say_path);
  Client client;
  ClientRequest request("http://localhost/status");
  request.unix_socket = path;

  for (int i = 0; i < 2; ++i) {
    auto server = Server::listen(options, handler).value();
    EXPECT_EQ(Server::listen(options, handler).error().code, Code::kConflict);
    EXPECT_EQ(as_text(client.fetch(request, 100).value().body), "GET /status");
  }

  EXPECT_EQ(client.fetch(request, 100).error().code, Code::kUnavailable);
}

// What is found out for one of them may then serve all of them.
TEST(Server, ReceivesAllRequestsThatAreThereBeforeAHandlerSeesTheFirst) {
  const test::TempDir directory;
  Server::Options options;
  options.address = "unix:" + directory.path() + "/socket";  // what was sent is there at once
  options.threads = 1;
  std::promise<void> holds, all_sent;
  std::vector<SteadyTime> received, asked;  // of the event loop's thread, until it has answered
  const Serving serving(
      [&](Request& request, RequestBody&) -> awaitable<Response> {
        if (request.path == "/hold") {
          holds.set_value();
          all_sent.get_future().wait();
        }
        if (request.path == "/count") {
          received.push_back(request.received_at);
          asked.push_back(std::chrono::steady_clock::now());
        }
        co_return Response(200, Headers(), "answer");
      },
      options);
  std::vector<RawSocket> sockets;
  for (int i = 0; i < 5; ++i) {
    sockets.emplace_back(connected_to(options.address.substr(5)));
    sockets.back().send(get("/"));
    EXPECT_EQ(body_of(sockets.back().read_response()), "answer");
  }

  const SteadyTime before = std::chrono::steady_clock::now();
  sockets.back().send(get("/hold"));
  holds.get_future().wait();
  for (size_t i = 0; i < 4; ++i) sockets[i].send(get("/count"));
  all_sent.set_value();
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(body_of(sockets[i].read_response()), "answer");

  ASSERT_EQ(asked.size(), 4u);
  EXPECT_LT(before, *std::ranges::min_element(received));
  EXPECT_LE(*std::ranges::max_element(received), *std::ranges::min_element(asked));
}

class AtOnce final : public Handler {
 public:
  awaitable<Response> handle(Request&, RequestBody& body) override {
    auto all = co_await test::read_all(body);
    co_return Response(200, Headers(), "later: " + all.value());
  }
  std::optional<Response> answer_at_once(Request& request) override {
    if (request.path == "/throw") throw std::runtime_error("the disk is gone");
    if (request.path != "/now") return std::nullopt;
    return Response(200, Headers(), std::string("at once"));
  }
};

TEST(Server, AsksTheHandlerForAnAnswerAtOnceFirst) {
  AtOnce handler;
  const auto server = Server::listen({}, handler).value();
  RawSocket socket(server->port());
  const std::string body = "Content-Length: 4\r\n\r\nbody";

  // The body that nobody reads is not taken for a request.
  socket.send("GET /now HTTP/1.1\r\nHost: h\r\n" + body);
  socket.send("GET /later HTTP/1.1\r\nHost: h\r\n" + body);
  socket.send(get("/throw") + get("/now"));

  EXPECT_EQ(body_of(socket.read_response()), "at once");
  EXPECT_EQ(body_of(socket.read_response()), "later: body");
  EXPECT_TRUE(socket.read_response().starts_with("HTTP/1.1 500 "));
  EXPECT_EQ(body_of(socket.read_response()), "at once");
}

TEST(Server, RefusesAnAddressThatIsNotOne) {
  test::FunctionHandler handler(say_path);
  Server::Options options;
  options.address = "not an address";

  EXPECT_FALSE(Server::listen(options, handler));
}

}  // namespace
}  // namespace runnel::net
