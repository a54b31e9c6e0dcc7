// The server and peers that are slow, broken, greedy or gone; and its end.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "net/client.h"
#include "net/server.h"
#include "support/bodies.h"
#include "support/raw_socket.h"
#include "support/serving.h"

namespace runnel::net {
namespace {

using std::chrono::milliseconds;
using test::EndlessStream;
using test::file_of;
using test::PiecesStream;
using test::RawSocket;
using test::Serving;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

awaitable<Response> say_ok(Request&, RequestBody&) {
  co_return Response(200, Headers(), std::string("ok"));
}

// A handler that reads the body and keeps what became of it.
class Uploads {
 public:
  test::HandlerFunction handler() {
    return [this](Request&, RequestBody& body) -> awaitable<Response> {
      begun_.set_value();
      auto all = co_await test::read_all(body);
      const int status = all ? 200 : 400;
      outcome_.set_value(std::move(all));
      co_return Response(status);
    };
  }
  void wait_until_begun() { begun_.get_future().wait(); }
  Result<std::string> outcome() { return outcome_.get_future().get(); }

 private:
  std::promise<void> begun_;
  std::promise<Result<std::string>> outcome_;
};

TEST(ServerLimits, RefusesAHeadThatIsTooLarge) {
  Server::Options options;
  options.max_header_bytes = 2000;
  const Serving serving(say_ok, options);
  RawSocket long_line(serving.port());
  RawSocket many_lines(serving.port());
  RawSocket long_target(serving.port());

  long_line.send("GET / HTTP/1.1\r\nHost: h\r\nA: " + std::string(5000, 'x') + "\r\n\r\n");
  std::string lines;
  for (int i = 0; i < 200; ++i) lines += "A: 0123456789\r\n";
  many_lines.send("GET / HTTP/1.1\r\nHost: h\r\n" + lines + "\r\n");
  long_target.send("GET /" + std::string(5000, 'x'));

  for (auto* socket : {&long_line, &many_lines, &long_target})
    EXPECT_TRUE(socket->read_to_end().starts_with("HTTP/1.1 431 "));
}

TEST(ServerLimits, RefusesGarbageAndClosesTheConnection) {
  const Serving serving(say_ok);
  RawSocket socket(serving.port());

  socket.send("\x16\x03\x01\x02 this is not HTTP\r\n\r\n" + std::string(kGet));
  const auto answer = socket.read_to_end();

  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 "));
  EXPECT_EQ(answer.find("HTTP/1.1", 1), std::string::npos);
}

TEST(ServerLimits, EndsAConnectionThatAsksForNothing) {
  Server::Options options;
  options.idle_timeout = milliseconds(50);
  const Serving serving(say_ok, options);
  RawSocket silent(serving.port());
  RawSocket used(serving.port());

  used.send(kGet);

  EXPECT_EQ(silent.read_to_end(), "");
  EXPECT_TRUE(used.read_to_end().ends_with("ok"));
}

TEST(ServerLimits, EndsAConnectionWhoseHeadDrips) {
  Server::Options options;
  options.header_timeout = milliseconds(100);
  const Serving serving(say_ok, options);
  RawSocket socket(serving.port());
  std::atomic<bool> ended = false;

  // A byte now and then never completes the head, and must not extend the deadline.
  std::thread dripping([&] {
    socket.send("GET / HTTP/1.1\r\nHost: h\r\nA: ");
    while (!ended && socket.send("x")) std::this_thread::sleep_for(milliseconds(5));
  });
  const auto answer = socket.read_to_end();
  ended = true;
  dripping.join();

  EXPECT_EQ(answer, "");
}

TEST(ServerLimits, DoesNotDrainABodyThatDrips) {
  Server::Options options;
  options.header_timeout = milliseconds(100);
  const Serving serving(say_ok, options);
  RawSocket socket(serving.port());
  std::atomic<bool> ended = false;

  std::thread dripping([&] {
    socket.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n");
    while (!ended && socket.send("x")) std::this_thread::sleep_for(milliseconds(5));
  });
  const auto answer = socket.read_to_end();
  ended = true;
  dripping.join();

  EXPECT_TRUE(answer.ends_with("ok"));
}

TEST(ServerLimits, GivesUpABodyThatStalls) {
  Server::Options options;
  options.body_stall_timeout = milliseconds(50);
  for (const auto* start : {"Content-Length: 10\r\n\r\nhalf", "Content-Length: 10\r\n\r\n",
                            "Transfer-Encoding: chunked\r\n\r\n5\r\nhal",
                            "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"}) {
    Uploads uploads;
    const Serving serving(uploads.handler(), options);
    RawSocket socket(serving.port());

    socket.send(std::string("PUT / HTTP/1.1\r\nHost: h\r\n") + start);
    const auto outcome = uploads.outcome();

    ASSERT_FALSE(outcome) << start;
    EXPECT_EQ(outcome.error().code, Code::kUnavailable) << outcome.error().message;
    EXPECT_EQ(socket.read_to_end().find("200"), std::string::npos);
  }
}

TEST(ServerLimits, NoticesAPeerThatGoesAwayInABody) {
  for (const auto* start :
       {"Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n5\r\nhal",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"}) {
    for (const bool reset : {false, true}) {
      Uploads uploads;
      const Serving serving(uploads.handler());
      RawSocket socket(serving.port());

      socket.send(std::string("PUT / HTTP/1.1\r\nHost: h\r\n") + start);
      reset ? socket.reset() : socket.finish_sending();
      const auto outcome = uploads.outcome();

      ASSERT_FALSE(outcome) << start;
      EXPECT_EQ(outcome.error().code, Code::kUnavailable) << outcome.error().message;
    }
  }
}

TEST(ServerLimits, RefusesBrokenChunks) {
  Uploads uploads;
  const Serving serving(uploads.handler());
  RawSocket socket(serving.port());

  socket.send("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcdXXXX");
  const auto outcome = uploads.outcome();

  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kInvalid);
  EXPECT_TRUE(socket.read_to_end().starts_with("HTTP/1.1 400 "));
}

TEST(ServerLimits, EndsAResponseThatNobodyReads) {
  Server::Options options;
  options.body_stall_timeout = milliseconds(100);
  std::promise<void> destroyed;
  const Serving serving(
      [&](Request&, RequestBody&) -> awaitable<Response> {
        std::function<void()> say = [&] { destroyed.set_value(); };
        co_return Response(200, Headers(), std::make_unique<EndlessStream>(std::move(say)));
      },
      options);
  RawSocket socket(serving.port());

  socket.send(kGet);

  destroyed.get_future().wait();
  socket.read_to_end();
  EXPECT_TRUE(socket.was_reset());
}

TEST(ServerLimits, EndsAFileThatNobodyReads) {
  Server::Options options;
  options.body_stall_timeout = milliseconds(100);
  const auto file = file_of(std::string(32'000'000, 'x'));
  const Serving serving(
      [&](Request&, RequestBody&) -> awaitable<Response> {
        co_return Response(200, Headers(), FileRange(file, 0, 32'000'000));
      },
      options);
  RawSocket socket(serving.port());
  socket.send(kGet);
  socket.read_until("\r\n\r\n");

  // Not a byte is read until the reset is here, which throws away what was not read.
  pollfd reset{.fd = socket.fd(), .events = POLLRDHUP, .revents = 0};
  EXPECT_EQ(::poll(&reset, 1, 20'000), 1);
  EXPECT_LT(socket.read_to_end().size(), 32'000'000u);
  EXPECT_TRUE(socket.was_reset());
}

TEST(ServerLimits, ResetsAResponseThatItCannotFinish) {
  const std::vector<std::string> pieces = {"some ", "bytes"};
  const auto file = file_of("12345");
  const Serving serving([&](Request& request, RequestBody&) -> awaitable<Response> {
    const Error error(Code::kUnavailable, "upstream has gone");
    if (request.path == "/chunked")
      co_return Response(200, Headers(), std::make_unique<PiecesStream>(pieces, error));
    if (request.path == "/length")
      co_return Response(200, Headers(), std::make_unique<PiecesStream>(pieces, error), 20);
    if (request.path == "/short")
      co_return Response(200, Headers(), std::make_unique<PiecesStream>(pieces), 20);
    if (request.path == "/long")
      co_return Response(200, Headers(), std::make_unique<PiecesStream>(pieces), 7);
    co_return Response(200, Headers(), FileRange(file, 0, 6));
  });
  Client client;

  for (const auto* path : {"/chunked", "/length", "/short", "/long", "/file"}) {
    const auto response = client.fetch(ClientRequest(serving.url(path)), 1000);
    ASSERT_FALSE(response) << path;
    EXPECT_EQ(response.error().code, Code::kUnavailable) << response.error().message;

    RawSocket socket(serving.port());
    socket.send(fmt::format("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", path));
    EXPECT_EQ(socket.read_to_end().find("\r\n0\r\n\r\n"), std::string::npos);
  }
}

TEST(ServerLimits, ResetsAnUnfinishedResponseToAnOldClient) {
  const Serving serving([](Request&, RequestBody&) -> awaitable<Response> {
    const Error error(Code::kUnavailable, "upstream has gone");
    const std::vector<std::string> pieces = {"some"};
    co_return Response(200, Headers(), std::make_unique<PiecesStream>(pieces, error));
  });
  RawSocket socket(serving.port());

  socket.send("GET / HTTP/1.0\r\n\r\n");
  socket.read_to_end();

  EXPECT_TRUE(socket.was_reset());
}

TEST(ServerLimits, SurvivesPeersThatVanishInAResponse) {
  const auto file = file_of(std::string(4'000'000, 'x'));
  const Serving serving([&](Request& request, RequestBody&) -> awaitable<Response> {
    if (request.path == "/ok") co_return Response(200, Headers(), std::string("ok"));
    co_return Response(200, Headers(), FileRange(file, 0, 4'000'000));
  });

  for (int i = 0; i < 50; ++i) {
    RawSocket socket(serving.port());
    socket.send(kGet);
    if (i % 2 == 0) socket.read_exactly(1000);
    socket.reset();
  }

  RawSocket last(serving.port());
  last.send("GET /ok HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(last.read_response().ends_with("ok"));
}

TEST(ServerLimits, MakesCrowdedPeersWaitTheirTurn) {
  Server::Options options;
  options.max_connections = 2;
  const Serving serving(say_ok, options);
  RawSocket kept(serving.port());
  kept.send(kGet);
  EXPECT_TRUE(kept.read_response().ends_with("ok"));

  // With `kept` idle and a second one, the third needs the place of the idle one.
  RawSocket second(serving.port());
  RawSocket third(serving.port());
  third.send(kGet);
  second.send(kGet);

  EXPECT_NE(third.read_response().find("200 OK"), std::string::npos);
  EXPECT_NE(second.read_response().find("200 OK"), std::string::npos);
}

TEST(ServerLimits, ServesAgainAfterRunningOutOfDescriptors) {
  const Serving serving(say_ok);
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few{.rlim_cur = 128, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &few);
  RawSocket socket(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  std::vector<UniqueFd> all;
  for (int fd; (fd = ::dup(socket.fd())) >= 0;) all.emplace_back(fd);

  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(serving.port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(socket.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socket.send(kGet);
  // No answer comes while there is no descriptor to accept with.
  pollfd waiting{.fd = socket.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&waiting, 1, 250), 0);
  all.clear();
  const auto answer = socket.read_response();
  ::setrlimit(RLIMIT_NOFILE, &before);

  EXPECT_TRUE(answer.ends_with("ok"));
}

TEST(ServerStop, ClosesIdleConnectionsAtOnce) {
  Server::Options options;
  options.stop_grace = std::chrono::seconds(60);
  Serving serving(say_ok, options);
  RawSocket kept(serving.port());
  RawSocket fresh(serving.port());
  kept.send(kGet);
  kept.read_response();

  serving.server().stop();

  EXPECT_EQ(kept.read_to_end(), "");
  EXPECT_EQ(fresh.read_to_end(), "");
}

TEST(ServerStop, LetsARunningRequestFinish) {
  WorkerPool pool(1);
  std::promise<void> entered;
  std::promise<void> leave;
  Server::Options options;
  options.stop_grace = std::chrono::seconds(60);
  Serving serving(
      [&](Request&, RequestBody&) -> awaitable<Response> {
        auto work = [&] {
          entered.set_value();
          leave.get_future().wait();
          return 0;
        };
        co_await on_pool(pool, std::move(work));
        co_return Response(200, Headers(), std::string("finished"));
      },
      options);
  RawSocket socket(serving.port());
  socket.send(kGet);
  entered.get_future().wait();

  std::thread stopping([&] { serving.server().stop(); });
  leave.set_value();
  const auto answer = socket.read_to_end();
  stopping.join();

  EXPECT_TRUE(answer.ends_with("finished")) << answer;
}

TEST(ServerStop, CutsWhatDoesNotFinishInTime) {
  Server::Options options;
  options.stop_grace = milliseconds(50);
  Uploads uploads;
  std::promise<void> destroyed;
  Serving uploading(uploads.handler(), options);
  Serving sending(
      [&](Request&, RequestBody&) -> awaitable<Response> {
        std::function<void()> say = [&] { destroyed.set_value(); };
        co_return Response(200, Headers(), std::make_unique<EndlessStream>(std::move(say)));
      },
      options);
  RawSocket upload(uploading.port());
  upload.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
  RawSocket download(sending.port());
  download.send(kGet);
  download.read_until("\r\n\r\n");
  uploads.wait_until_begun();

  uploading.server().stop();
  sending.server().stop();

  EXPECT_FALSE(uploads.outcome());
  destroyed.get_future().wait();
}

TEST(ServerStop, ReturnsThoughAHandlerStillWaits) {
  WorkerPool pool(1);
  std::promise<void> leave;
  std::promise<void> entered;
  Server::Options options;
  options.stop_grace = milliseconds(20);
  Serving serving(
      [&](Request&, RequestBody&) -> awaitable<Response> {
        auto work = [&] {
          entered.set_value();
          leave.get_future().wait();
          return 0;
        };
        co_await on_pool(pool, std::move(work));
        co_return Response(200);
      },
      options);
  RawSocket socket(serving.port());
  socket.send(kGet);
  entered.get_future().wait();

  serving.server().stop();  // would hang here
  leave.set_value();

  EXPECT_EQ(socket.read_to_end(), "");
}

}  // namespace
}  // namespace runnel::net
