#include "net/redirect.h"

#include <gtest/gtest.h>

namespace runnel::net {
namespace {

Result<std::string> target(const char* from, const char* location) {
  auto url = redirect_target(parse_url(from).value(), location);
  if (!url) return std::unexpected(url.error());
  return url->text();
}

TEST(Redirect, ResolvesRelativeLocations) {
  EXPECT_EQ(target("https://h/v2/blob?x=1", "/other?y=2"), "https://h/other?y=2");
  EXPECT_EQ(target("https://h/v2/blob", "data"), "https://h/v2/data");
  EXPECT_EQ(target("http://h:5000/v2", "//g/x"), "http://g/x");
  EXPECT_EQ(target("http://h/", "https://h/secure"), "https://h/secure");
}

TEST(Redirect, NeverLeavesHttpsForHttp) {
  EXPECT_EQ(target("https://h/", "http://h/").error().code, Code::kInvalid);
}

TEST(Redirect, NeverLeavesHttp) {
  for (const auto* location : {"file:///etc/shadow", "ftp://h/", "gopher://h/", "http://"})
    EXPECT_FALSE(target("http://h/", location)) << location;
}

TEST(Redirect, DropsUserInformation) {
  EXPECT_EQ(target("http://h/", "http://user:pass@g/x"), "http://g/x");
}

TEST(Redirect, EncodesWhatServersForget) {
  EXPECT_EQ(target("http://h/", "/a b"), "http://h/a%20b");
}

TEST(Redirect, DoesNotRepeatAQueryInItsError) {
  const auto refused = target("https://h/", "http://h/x?signature=secret");

  EXPECT_EQ(refused.error().message.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace runnel::net
