#include "remote/url.h"

#include <gtest/gtest.h>

namespace runnel::remote {
namespace {

constexpr std::string_view kBase = "https://example.com/v2/a/blobs/uploads/";

TEST(Url, IsResolvedAgainstTheRequest) {
  EXPECT_EQ(resolve_url(kBase, "/v2/x?state=1#f"), "https://example.com/v2/x?state=1");
  EXPECT_EQ(resolve_url(kBase, "abc"), "https://example.com/v2/a/blobs/uploads/abc");
  EXPECT_EQ(resolve_url(kBase, "http://other:5000/y%20z"), "http://other:5000/y%20z");
  EXPECT_EQ(resolve_url(kBase, "//other/y"), "https://other/y");
}

TEST(Url, RefusesWhatIsNotAWebAddress) {
  for (const char* reference : {"file:///etc/passwd", "ftp://x/", "http:///path", "http://u:p@h/",
                                "http://a b/", "\n", "javascript:alert(1)"})
    EXPECT_FALSE(resolve_url(kBase, reference)) << reference;
  EXPECT_FALSE(resolve_url("not absolute", "/x"));
  EXPECT_FALSE(resolve_url(kBase, std::string(100'000, 'a')));
}

TEST(Url, CredentialsBelongToSchemeHostAndPort) {
  EXPECT_TRUE(is_same_origin("https://Example.com/x?y", "https://example.com:443"));
  EXPECT_FALSE(is_same_origin("https://example.com/", "http://example.com/"));
  EXPECT_FALSE(is_same_origin("https://example.com/", "https://example.com:444/"));
  EXPECT_FALSE(is_same_origin("https://example.com/", "https://example.org/"));
  EXPECT_FALSE(is_same_origin("https://example.com/", "/x"));
}

TEST(Url, ARegistryCannotSendUsDownToPlainHttp) {
  const Endpoint secure = Hosts().endpoint("example.com");

  EXPECT_TRUE(check_leads_on(secure, "https://cdn.example.net/x"));
  auto refused = check_leads_on(secure, "http://cdn.example.net/x?signature=s3cret");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kDenied);
  EXPECT_EQ(refused.error().message.find("s3cret"), std::string::npos);
}

TEST(Url, ARemoteRegistryCannotAimAtOurNetwork) {
  const Endpoint remote = Hosts().endpoint("example.com");
  const Endpoint local = Hosts().endpoint("127.0.0.1:5000");
  const Endpoint site = Hosts().endpoint("10.0.0.1:5000");

  for (const char* url : {"https://169.254.169.254/latest", "https://localhost/", "https://[::1]/",
                          "https://10.0.0.1/", "https://127.1/"})
    EXPECT_FALSE(check_leads_on(remote, url)) << url;
  EXPECT_TRUE(check_leads_on(local, "http://127.0.0.1:6000/token"));
  EXPECT_TRUE(check_leads_on(site, "https://10.0.0.2/token"));
}

TEST(Url, QueryValuesAreEncoded) {
  EXPECT_EQ(with_query("http://h/p", "scope", "repository:a/b:pull,push"),
            "http://h/p?scope=repository%3Aa%2Fb%3Apull%2Cpush");
  EXPECT_EQ(with_query("http://h/p?x=1", "y", "a b&c=d+e"), "http://h/p?x=1&y=a%20b%26c%3Dd%2Be");
}

}  // namespace
}  // namespace runnel::remote
