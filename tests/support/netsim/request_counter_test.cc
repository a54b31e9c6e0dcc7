#include "support/netsim/request_counter.h"

#include <gmock/gmock.h>

#include <vector>

namespace runnel::netsim {
namespace {

using testing::ElementsAre;

constexpr std::string_view kThree =
    "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"
    "POST /x HTTP/1.1\r\ncontent-length:  4\r\n\r\n\r\n\r\n"
    "GET /b HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\n\r\n";

std::vector<std::string> count(const std::vector<std::string_view>& pieces) {
  std::vector<std::string> seen;
  RequestCounter counter([&](std::string_view line, std::string_view range) {
    seen.push_back(std::string(line) + "|" + std::string(range));
  });
  for (const auto piece : pieces) counter.feed(piece);
  return seen;
}

TEST(NetsimRequestCounter, CountsRequestsAndSkipsTheirBodies) {
  EXPECT_THAT(count({kThree}), ElementsAre("GET /v2/|", "POST /x|", "GET /b|bytes=0-9"));
}

TEST(NetsimRequestCounter, DoesNotCareHowTheBytesAreCut) {
  for (size_t cut = 1; cut < kThree.size(); ++cut) {
    EXPECT_EQ(count({kThree.substr(0, cut), kThree.substr(cut)}), count({kThree})) << cut;
  }
}

TEST(NetsimRequestCounter, StopsAtWhatIsNotHttp) {
  EXPECT_THAT(count({"\x16\x03\x01 client hello\r\n\r\n", kThree}), ElementsAre());
  EXPECT_THAT(count({"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", kThree}),
              ElementsAre("PUT /c|"));
}

}  // namespace
}  // namespace runnel::netsim
