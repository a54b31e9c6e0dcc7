#include "net/response_head.h"

#include <gtest/gtest.h>

namespace runnel::net {
namespace {

class Nothing final : public BodyStream {
 public:
  awaitable<Result<size_t>> read(MutableBytes) override { co_return size_t{0}; }
};

Response stream_response(std::optional<uint64_t> length) {
  return Response(200, Headers(), std::make_unique<Nothing>(), length);
}

std::string head_of(const Response& response, const RequestTraits& request = {}) {
  return response_head(response, plan_response(response, request), request, "now");
}

TEST(ResponseHead, AnnouncesALength) {
  EXPECT_EQ(head_of(Response(404, {{"A", "b"}}, "gone")),
            "HTTP/1.1 404 Not Found\r\nServer: runnel/" RUNNEL_VERSION
            "\r\nDate: now\r\nA: b\r\nContent-Length: 4\r\n\r\n");
}

TEST(ResponseHead, NamesTheServerAsTheHandlerDoes) {
  const Response response(204, {{"Server", "another"}}, "");

  EXPECT_TRUE(check_response(response));
  EXPECT_EQ(head_of(response), "HTTP/1.1 204 No Content\r\nDate: now\r\nServer: another\r\n\r\n");
}

TEST(ResponseHead, IsTheSameForHeadAsForGet) {
  const RequestTraits head{.head = true};

  EXPECT_EQ(head_of(Response(200, {}, "text"), head), head_of(Response(200, {}, "text")));
  EXPECT_EQ(head_of(stream_response(7), head), head_of(stream_response(7)));
  EXPECT_EQ(head_of(stream_response({}), head), head_of(stream_response({})));
  EXPECT_EQ(plan_response(Response(200, {}, "text"), head).framing, Framing::kNone);
}

TEST(ResponseHead, TakesTheLengthForHeadFromTheHandler) {
  const RequestTraits head{.head = true};

  EXPECT_EQ(plan_response(Response(200, {}, "", 5000), head).content_length, 5000);
}

TEST(ResponseHead, SendsStreamsOfUnknownLengthInChunks) {
  EXPECT_NE(head_of(stream_response({})).find("Transfer-Encoding: chunked\r\n"), std::string::npos);
}

TEST(ResponseHead, SendsStreamsOfUnknownLengthToOldClientsUntilTheEnd) {
  const RequestTraits old{.http_1_0 = true};
  const auto plan = plan_response(stream_response({}), old);

  EXPECT_EQ(plan.framing, Framing::kUntilClose);
  EXPECT_FALSE(plan.keep_alive);
  EXPECT_EQ(head_of(stream_response({}), old).find("chunked"), std::string::npos);
}

TEST(ResponseHead, AllowsNoBodyWhereTheStatusDoesNot) {
  for (const int status : {204, 304}) {
    const auto plan = plan_response(Response(status, {}, "text"), {});
    EXPECT_EQ(plan.framing, Framing::kNone);
    EXPECT_FALSE(plan.content_length);
  }
}

TEST(ResponseHead, RefusesWhatTheServerWritesAndWhatCannotBeWritten) {
  EXPECT_TRUE(check_response(Response(200)));
  EXPECT_FALSE(check_response(Response(100)));
  EXPECT_FALSE(check_response(Response(600)));
  EXPECT_FALSE(check_response(Response(200, {{"content-length", "1"}})));
  EXPECT_FALSE(check_response(Response(200, {{"Location", "/\r\nX: y"}})));
  EXPECT_FALSE(check_response(Response(200, {}, std::unique_ptr<BodyStream>())));
  EXPECT_FALSE(check_response(Response(200, {}, FileRange(nullptr, 0, 1))));
}

TEST(HttpDate, HasTheFixedForm) {
  const WallTime time{std::chrono::seconds(784111777)};

  EXPECT_EQ(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
}

}  // namespace
}  // namespace runnel::net
