// Responses that a coroutine reads: back-pressure, cancellation, and relaying from client to
// server.
#include <gtest/gtest.h>
#include <poll.h>

#include <future>

#include "net/client.h"
#include "net/server.h"
#include "support/bodies.h"
#include "support/run_coroutine.h"
#include "support/scripted_server.h"
#include "support/serving.h"

namespace runnel::net {
namespace {

using test::pattern;
using test::RawSocket;
using test::run_coroutine;
using test::ScriptedServer;
using test::Serving;

awaitable<Result<std::string>> read_rest(BodyStream& body) {
  std::string all;
  Buffer piece(50'000);
  for (;;) {
    RUNNEL_CO_TRY(const size_t got, co_await body.read(piece));
    if (got == 0) co_return all;
    all += as_text(Bytes(piece).first(got));
  }
}

awaitable<Result<std::string>> open_and_read(Client& client, std::string url) {
  RUNNEL_CO_TRY(auto opened, co_await client.open(ClientRequest(url)));
  co_return co_await read_rest(*opened.body);
}

TEST(ClientOpen, ReadsTheBodyPieceByPiece) {
  const std::string bytes = pattern(7'000'000);
  const auto file = test::file_of(bytes);
  const Serving serving([&](Request&, RequestBody&) -> awaitable<Response> {
    co_return Response(200, Headers(), FileRange(file, 0, bytes.size()));
  });
  Client client;

  EXPECT_TRUE(run_coroutine(open_and_read(client, serving.url("/"))).value() == bytes);
}

TEST(ClientOpen, StopsAServerThatIsFasterThanTheReader) {
  constexpr size_t kSize = 200'000'000;
  std::atomic<size_t> sent = 0;
  std::promise<void> blocked;
  const auto fast = [&](RawSocket& socket) {
    socket.read_until("\r\n\r\n");
    socket.send(fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", kSize));
    const std::string piece(100'000, 'x');
    bool said = false;
    while (sent < kSize) {
      // Not writable for half a second: the client has stopped reading.
      pollfd writable{.fd = socket.fd(), .events = POLLOUT, .revents = 0};
      if (!said && ::poll(&writable, 1, 500) == 0) {
        said = true;
        blocked.set_value();
      }
      if (!socket.send(piece)) return;
      sent += piece.size();
    }
  };
  const ScriptedServer server(fast);
  Client client;
  auto read = [&]() -> awaitable<Result<size_t>> {
    RUNNEL_CO_TRY(auto opened, co_await client.open(ClientRequest(server.url("/"))));
    blocked.get_future().wait();
    EXPECT_LT(sent, kSize / 4);
    RUNNEL_CO_TRY(const auto all, co_await read_rest(*opened.body));
    co_return all.size();
  };

  EXPECT_EQ(run_coroutine(read()), kSize);
}

TEST(ClientOpen, FailsWhereTheBodyBreaksOff) {
  const ScriptedServer server(test::answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"));
  Client client;

  const auto body = run_coroutine(open_and_read(client, server.url("/")));

  ASSERT_FALSE(body);
  EXPECT_EQ(body.error().code, Code::kUnavailable);
}

TEST(ClientOpen, FailsWithoutAnAnswer) {
  const ScriptedServer server(test::answer(""));
  Client client;

  EXPECT_EQ(run_coroutine(open_and_read(client, server.url("/"))).error().code, Code::kUnavailable);
  EXPECT_EQ(run_coroutine(open_and_read(client, "nonsense")).error().code, Code::kInvalid);
}

TEST(ClientOpen, CancelsWhatIsNotReadToTheEnd) {
  std::promise<void> gone;
  const auto endless = [&](RawSocket& socket) {
    socket.read_until("\r\n\r\n");
    socket.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (socket.send("4\r\nmore\r\n")) {
    }
    gone.set_value();
  };
  const ScriptedServer server(endless);
  Client client;
  auto read_a_little = [&]() -> awaitable<Result<size_t>> {
    RUNNEL_CO_TRY(auto opened, co_await client.open(ClientRequest(server.url("/"))));
    Buffer piece(10);
    co_return co_await opened.body->read(piece);
  };

  EXPECT_GT(run_coroutine(read_a_little()).value(), 0u);

  gone.get_future().wait();
}

TEST(ClientOpen, OutlivesItsClient) {
  const auto stalling = [](RawSocket& socket) {
    socket.read_until("\r\n\r\n");
    socket.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    socket.read_to_end();
  };
  const ScriptedServer server(stalling);
  auto client = std::make_unique<Client>();
  auto read = [&]() -> awaitable<Result<std::string>> {
    RUNNEL_CO_TRY(auto opened, co_await client->open(ClientRequest(server.url("/"))));
    client.reset();
    co_return co_await read_rest(*opened.body);
  };

  EXPECT_EQ(run_coroutine(read()).error().code, Code::kCancelled);
}

// What the mirror does.
TEST(ClientOpen, RelaysFromServerToServer) {
  const std::string bytes = pattern(9'000'000);
  const auto file = test::file_of(bytes);
  const Serving origin([&](Request& request, RequestBody&) -> awaitable<Response> {
    const Error error(Code::kUnavailable, "gone");
    const std::vector<std::string> pieces = {"half"};
    if (request.path == "/broken")
      co_return Response(200, Headers(), std::make_unique<test::PiecesStream>(pieces, error), 8);
    co_return Response(200, Headers(), FileRange(file, 0, bytes.size()));
  });
  Client upstream;
  const Serving relay([&](Request& request, RequestBody&) -> awaitable<Response> {
    auto opened = co_await upstream.open(ClientRequest(origin.url(request.target)));
    if (!opened) co_return Response(503);
    const std::string length(opened->head.headers.first("Content-Length").value());
    co_return Response(opened->head.status, Headers(), std::move(opened->body),
                       std::stoull(length));
  });
  Client client;

  for (int i = 0; i < 3; ++i) {
    auto relayed = client.fetch(ClientRequest(relay.url("/whole")), bytes.size());
    ASSERT_TRUE(relayed);
    EXPECT_TRUE(as_text(relayed->body) == bytes);
    // The reset may overtake the head, and the relay then knows in time; but never is it a whole.
    const auto broken = client.fetch(ClientRequest(relay.url("/broken")), 100);
    EXPECT_TRUE(!broken || broken->head.status == 503);
  }
}

}  // namespace
}  // namespace runnel::net
