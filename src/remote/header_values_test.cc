#include "remote/header_values.h"

#include <gtest/gtest.h>

namespace runnel::remote {
namespace {

using namespace std::chrono_literals;

TEST(ContentRangeHeader, GivesFirstLastAndTotal) {
  EXPECT_EQ(parse_content_range("bytes 0-9/100"), (ContentRange{0, 9, 100}));
  EXPECT_EQ(parse_content_range(" Bytes 5-5/6 "), (ContentRange{5, 5, 6}));
  EXPECT_EQ(parse_content_range("bytes 5-9/*"), (ContentRange{5, 9, std::nullopt}));
}

TEST(ContentRangeHeader, RefusesRangesThatCannotBe) {
  for (const char* value :
       {"", "bytes", "bytes */100", "bytes 9-0/100", "bytes 0-100/100", "bytes 0-9", "0-9/100",
        "bytes -9/100", "bytes 0-/100", "bytes 0-9/", "bytes 0x0-9/100", "items 0-9/100",
        "bytes 0-99999999999999999999/*", "bytes +0-9/100", "bytes 0/9-100"})
    EXPECT_FALSE(parse_content_range(value)) << value;
}

TEST(LinkHeader, GivesTheNextPage) {
  EXPECT_EQ(next_link(R"(</v2/a/referrers/x?n=1&last=b,c;d>; rel="next")"),
            "/v2/a/referrers/x?n=1&last=b,c;d");
  EXPECT_EQ(next_link(R"(<a>; title="x, y; rel=next"; rel=prev, <b>; foo; rel=NEXT)"), "b");
}

TEST(LinkHeader, GivesNothingWhenThereIsNoNextPage) {
  for (const char* value : {"", "<a", "<a>", "<a>; rel=prev", "a; rel=next", "<a>; rel"})
    EXPECT_FALSE(next_link(value)) << value;
}

TEST(RetryAfterHeader, TakesSecondsAndDates) {
  const WallTime now = std::chrono::system_clock::from_time_t(784'111'777);  // 08:49:37

  EXPECT_EQ(parse_retry_after("120", now), Duration(120s));
  EXPECT_EQ(parse_retry_after("0", now), Duration(0s));
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now), Duration(30s));
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Duration(0s));
  EXPECT_EQ(parse_retry_after("99999999", now), Duration(24h));
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 2994 08:00:00 GMT", now), Duration(24h));
}

TEST(RetryAfterHeader, IgnoresAnythingElse) {
  for (const char* value : {"", "-1", "1.5", "soon", "Sun, 06 Nov 1994", "99999999999999999999"})
    EXPECT_FALSE(parse_retry_after(value, WallTime())) << value;
}

TEST(MediaType, LosesItsParametersAndCase) {
  EXPECT_EQ(bare_media_type("Application/JSON ; charset=utf-8"), "application/json");
  EXPECT_EQ(bare_media_type(""), "");
}

}  // namespace
}  // namespace runnel::remote
