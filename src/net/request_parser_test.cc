#include "net/request_parser.h"

#include <gtest/gtest.h>

namespace runnel::net {
namespace {

constexpr size_t kLimit = 4096;

// The status that a head is refused with; 0 when it is accepted.
int refusal_of(const std::string& head, Request* request = nullptr) {
  RequestParser parser(kLimit);
  const auto step = parser.feed_head(as_bytes(head));
  if (step.refusal) return step.refusal->status;
  EXPECT_TRUE(step.done) << head;
  Request taken;
  const auto refusal = parser.take(taken);
  if (request) *request = taken;
  return refusal ? refusal->status : 0;
}

TEST(RequestParser, TakesTheHeadApart) {
  Request request;

  ASSERT_EQ(refusal_of("PUT /v2/a%2Fb/x?digest=sha256%3Aab&n=1 HTTP/1.1\r\nHost: h\r\nA: 1\r\n"
                       "a: 2\r\n\r\n",
                       &request),
            0);

  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.target, "/v2/a%2Fb/x?digest=sha256%3Aab&n=1");
  EXPECT_EQ(request.path, "/v2/a/b/x");
  EXPECT_EQ(request.query.first("digest"), "sha256:ab");
  EXPECT_EQ(request.headers, (Headers{{"Host", "h"}, {"A", "1"}, {"a", "2"}}));
}

// Byte by byte, each call with all that was not used: "0" CRLF comes before there are five bytes.
std::string chunked_body_one_by_one(const std::string& framed) {
  RequestParser parser(kLimit);
  const std::string head = "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_TRUE(parser.feed_head(as_bytes(head)).done);
  std::string held;
  std::string body;
  for (const char c : framed) {
    held += c;
    std::byte into[16];
    const auto step = parser.feed_chunked(as_bytes(held), into);
    if (!step) return step.error().message;
    body += as_text(Bytes(into).first(step->produced));
    held.erase(0, step->used);
    if (step->done) return body + "|" + held;
  }
  return "not done";
}

TEST(RequestParser, TakesChunkedBodiesOneByOne) {
  EXPECT_EQ(chunked_body_one_by_one("0\r\n\r\n"), "|");
  EXPECT_EQ(chunked_body_one_by_one("0\r\nHost: h\r\nT: r\r\n\r\n"), "|");
  EXPECT_EQ(chunked_body_one_by_one("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), "abc|");
}

TEST(RequestParser, TakesBytesOneByOne) {
  const std::string head = "GET /path HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n";
  RequestParser parser(kLimit);
  std::string held;
  bool done = false;
  for (const char c : head) {
    ASSERT_FALSE(done);
    held += c;
    const auto step = parser.feed_head(as_bytes(held));
    ASSERT_FALSE(step.refusal) << step.refusal->reason;
    held.erase(0, step.used);
    done = step.done;
  }
  Request request;

  EXPECT_TRUE(done);
  EXPECT_FALSE(parser.take(request));
  EXPECT_EQ(request.path, "/path");
  EXPECT_EQ(request.headers.first("X"), "y");
}

TEST(RequestParser, LeavesTheNextRequestAlone) {
  const std::string first = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n";
  RequestParser parser(kLimit);

  const auto step = parser.feed_head(as_bytes(first + "GET /2 HTTP/1.1\r\n"));

  EXPECT_TRUE(step.done);
  EXPECT_EQ(step.used, first.size());
}

TEST(RequestParser, AcceptsAbsoluteTargets) {
  Request request;

  ASSERT_EQ(refusal_of("GET http://h:5000/v2/?n=1 HTTP/1.1\r\nHost: h:5000\r\n\r\n", &request), 0);

  EXPECT_EQ(request.path, "/v2/");
  EXPECT_EQ(request.query.first("n"), "1");
}

TEST(RequestParser, RefusesWhatIsNotARequest) {
  const std::string host = " HTTP/1.1\r\nHost: h\r\n";

  EXPECT_EQ(refusal_of("\x16\x03\x01 not http at all\r\n\r\n"), 400);
  EXPECT_EQ(refusal_of("GET /%zz" + host + "\r\n"), 400);
  EXPECT_EQ(refusal_of("GET /%00" + host + "\r\n"), 400);
  EXPECT_EQ(refusal_of("GET /?a=%" + host + "\r\n"), 400);
  EXPECT_EQ(refusal_of("GET relative" + host + "\r\n"), 400);
  EXPECT_EQ(refusal_of("CONNECT h:443" + host + "\r\n"), 400);
  EXPECT_EQ(refusal_of("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(refusal_of("GET /" + host + "Host: g\r\n\r\n"), 400);
  EXPECT_EQ(refusal_of("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
  EXPECT_EQ(refusal_of("GET /" + host + "Expect: a miracle\r\n\r\n"), 417);
}

TEST(RequestParser, RefusesTwoWaysToEndABody) {
  const std::string post = "POST / HTTP/1.1\r\nHost: h\r\n";

  EXPECT_EQ(refusal_of(post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(refusal_of(post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"), 400);
  EXPECT_EQ(refusal_of(post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"), 400);
  EXPECT_EQ(refusal_of(post + "Content-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(refusal_of(post + "Transfer-Encoding: gzip\r\n\r\n"), 501);
  EXPECT_EQ(refusal_of(post + "Transfer-Encoding: gzip, chunked\r\n\r\n"), 501);
  EXPECT_EQ(refusal_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 501);
}

TEST(RequestParser, BoundsTheHead) {
  const std::string get = "GET / HTTP/1.1\r\nHost: h\r\n";
  std::string many = get;
  for (size_t i = 0; i < Headers::kMaxLines; ++i) many += "a: b\r\n";

  EXPECT_EQ(refusal_of(get + "A: " + std::string(kLimit, 'x') + "\r\n\r\n"), 431);
  EXPECT_EQ(refusal_of(many + "\r\n"), 431);
}

// What the chunks say, feeding `step` bytes at a time.
Result<std::string> unchunked(const std::string& chunks, size_t step, size_t room) {
  RequestParser parser(kLimit);
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_TRUE(parser.feed_head(as_bytes(head)).done);
  std::string body;
  std::string held;
  for (size_t at = 0; at < chunks.size(); at += step) {
    held += chunks.substr(at, step);
    for (;;) {
      std::string into(room, '\0');
      RUNNEL_TRY(const auto taken,
                 parser.feed_chunked(as_bytes(held), std::as_writable_bytes(std::span(into))));
      held.erase(0, taken.used);
      body += into.substr(0, taken.produced);
      if (taken.done) return body + (held.empty() ? "" : " and " + held);
      if (taken.used == 0) break;
    }
  }
  return body + " (unfinished)";
}

TEST(RequestParser, ReadsChunksHoweverTheyArrive) {
  const std::string chunks =
      "4\r\nWiki\r\n6;name=value\r\npedia \r\nB\r\nin chunks.\n\r\n0\r\n\r\n";

  for (const size_t step : {1, 2, 3, 7, 100})
    for (const size_t room : {1, 5, 100})
      EXPECT_EQ(unchunked(chunks, step, room), "Wikipedia in chunks.\n") << step << " " << room;
}

TEST(RequestParser, DropsTrailersAndKeepsWhatFollows) {
  EXPECT_EQ(unchunked("1\r\na\r\n0\r\nX: y\r\n\r\nGET", 100, 10), "a and GET");
}

TEST(RequestParser, RefusesBrokenChunks) {
  for (const auto* chunks : {"x\r\na\r\n0\r\n\r\n", "1\r\nab\r\n0\r\n\r\n", "-1\r\n\r\n",
                             "10000000000000000\r\na", "\r\n\r\n"})
    EXPECT_FALSE(unchunked(chunks, 100, 100)) << chunks;
}

}  // namespace
}  // namespace runnel::net
