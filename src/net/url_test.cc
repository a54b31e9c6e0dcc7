#include "net/url.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace runnel::net {
namespace {

TEST(Url, DecodesWhatItEncodes) {
  EXPECT_TRUE(rc::check("any text comes back", [](const std::string& text) {
    RC_ASSERT(percent_decode(percent_encode(text)).value() == text);
    RC_ASSERT(percent_decode(percent_encode_path(text)).value() == text);
  }));
}

TEST(Url, RefusesBrokenPercentSigns) {
  for (const auto* text : {"%", "a%2", "%zz", "%4", "%-1"})
    EXPECT_EQ(percent_decode(text).error().code, Code::kInvalid) << text;
}

TEST(Query, KeepsOrderAndRepeatedNames) {
  const auto query = Query::parse("n=10&last=a%2Fb&&n=11&flag&x=a+b").value();

  EXPECT_EQ(query.first("n"), "10");
  EXPECT_EQ(query.all("n"), (std::vector<std::string_view>{"10", "11"}));
  EXPECT_EQ(query.first("last"), "a/b");
  EXPECT_EQ(query.first("flag"), "");
  EXPECT_EQ(query.first("x"), "a b");
  EXPECT_FALSE(query.first("N"));
}

TEST(Query, ParsesWhatItBuilds) {
  EXPECT_TRUE(rc::check("pairs come back", [] {
    using Pairs = std::vector<std::pair<std::string, std::string>>;
    const auto pairs = *rc::gen::container<Pairs>(
        rc::gen::pair(rc::gen::nonEmpty<std::string>(), rc::gen::arbitrary<std::string>()));
    Query query;
    for (const auto& [name, value] : pairs) query.add(name, value);

    const auto parsed = Query::parse(query.text()).value();

    RC_ASSERT(Pairs(parsed.begin(), parsed.end()) == pairs);
  }));
}

TEST(Query, IsBounded) {
  std::string text;
  for (size_t i = 0; i <= Query::kMaxPairs; ++i) text += "a=b&";

  EXPECT_FALSE(Query::parse(text));
}

TEST(HostPort, SplitsAndJoins) {
  for (const auto* text : {"host", "host:5000", "10.0.0.1:80", "[::1]", "[fe80::1]:443"})
    EXPECT_EQ(split_host_port(text).value().text(), text);
  EXPECT_EQ(split_host_port("[::1]:5000").value(), (HostPort{"::1", 5000}));
}

TEST(HostPort, RefusesWhatIsNeither) {
  for (const auto* text : {"", ":80", "host:", "host:0", "host:65536", "host:80x", "host:-1", "::1",
                           "[::1", "[host]:80", "[::1]80", "a b", "a/b", "user@host"})
    EXPECT_FALSE(split_host_port(text)) << text;
}

TEST(LoopbackHost, IsThisMachineOnly) {
  for (const auto* host : {"localhost", "LocalHost", "127.0.0.1", "127.9.8.7", "::1", "[::1]"})
    EXPECT_TRUE(is_loopback_host(host)) << host;
  for (const auto* host : {"", "127.0.0.1.example.com", "128.0.0.1", "127.1", "localhost.evil.com",
                           "::2", "0.0.0.0", "localhost2"})
    EXPECT_FALSE(is_loopback_host(host)) << host;
}

TEST(Url, ParsesAbsoluteOnes) {
  const auto url = parse_url("HTTPS://registry.example.com:8443/v2/?n=1#part").value();

  EXPECT_EQ(url.scheme, "https");
  EXPECT_EQ(url.authority, (HostPort{"registry.example.com", 8443}));
  EXPECT_EQ(url.target, "/v2/?n=1");
  EXPECT_EQ(parse_url("http://h?x").value().target, "/?x");
  EXPECT_EQ(parse_url("http://h").value().text(), "http://h/");
}

TEST(Url, RefusesOtherSchemesUsersAndRawBytes) {
  for (const auto* text :
       {"", "ftp://h/", "file:///etc/passwd", "//h/", "/path", "http:///x", "http://user:pass@h/",
        "http://h/a b", "http://h/\r\nX: y", "http://h:x/", "http://h/\xc3\xa4"})
    EXPECT_FALSE(parse_url(text)) << text;
}

TEST(Url, DoesNotRepeatAPasswordInItsError) {
  EXPECT_EQ(parse_url("http://user:hunter2@h/").error().message.find("hunter2"), std::string::npos);
}

TEST(Url, ComparesOriginsWithDefaultPorts) {
  const auto url = [](const char* text) { return parse_url(text).value(); };

  EXPECT_TRUE(url("http://h/a").same_origin(url("http://H:80/b")));
  EXPECT_FALSE(url("http://h/").same_origin(url("https://h/")));
  EXPECT_FALSE(url("http://h:1/").same_origin(url("http://h:2/")));
  EXPECT_FALSE(url("http://h/").same_origin(url("http://g/")));
}

TEST(Url, IsShownWithoutSecrets) {
  EXPECT_EQ(without_secrets("https://u:p@h/path?sig=secret#x"), "https://h/path");
  EXPECT_EQ(without_secrets("https://h/a@b"), "https://h/a@b");
  EXPECT_EQ(without_secrets("https://u:p@q@h"), "https://h");
  EXPECT_EQ(without_secrets("/path?token=x"), "/path");
}

}  // namespace
}  // namespace runnel::net
