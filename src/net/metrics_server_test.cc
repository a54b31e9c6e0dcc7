#include "net/metrics_server.h"

#include <gtest/gtest.h>

#include "net/client.h"

namespace runnel::net {
namespace {

Result<BufferedResponse> get(const MetricsServer& server, const std::string& path,
                             const char* method = "GET") {
  Client client;
  return client.fetch(ClientRequest(method, "http://" + server.address() + path), 1 << 20);
}

TEST(MetricsServer, ServesThePageAndNothingElse) {
  const auto server = MetricsServer::listen("127.0.0.1:0", [] { return "runnel_x 1\n"; }).value();

  const auto page = get(*server, "/metrics").value();

  EXPECT_EQ(page.head.status, 200);
  EXPECT_EQ(as_text(page.body), "runnel_x 1\n");
  EXPECT_EQ(page.head.headers.first("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(get(*server, "/").value().head.status, 404);
  EXPECT_EQ(get(*server, "/metrics", "POST").value().head.status, 405);
}

TEST(MetricsServer, NamesTheFlagWhenItsPortIsTaken) {
  const auto server = MetricsServer::listen("127.0.0.1:0", [] { return ""; }).value();

  const auto second = MetricsServer::listen(server->address(), [] { return ""; });

  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kConflict);
  EXPECT_TRUE(second.error().message.contains("--metrics")) << second.error().message;
}

TEST(MetricsServer, IsGivenUpByARoleThatHasMoreImportantWork) {
  const auto server = MetricsServer::listen("127.0.0.1:0", [] { return "first 1\n"; }).value();

  EXPECT_EQ(MetricsServer::listen_or_warn(server->address(), [] { return ""; }), nullptr);

  EXPECT_EQ(as_text(get(*server, "/metrics").value().body), "first 1\n");
  EXPECT_NE(MetricsServer::listen_or_warn("127.0.0.1:0", [] { return ""; }), nullptr);
}

TEST(MetricsServer, IsNotThereWhenItIsOff) {
  EXPECT_EQ(MetricsServer::listen("off", [] { return ""; }).value(), nullptr);
}

TEST(MetricsServer, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "127.0.0.1", ":9863", "on", "127.0.0.1:x", "127.0.0.1:70000"}) {
    EXPECT_FALSE(check_metrics_address(text)) << text;
  }
  for (const char* text : {"off", "127.0.0.1:9863", "127.0.0.1:0", "[::1]:9863"}) {
    EXPECT_TRUE(check_metrics_address(text)) << text;
  }
}

}  // namespace
}  // namespace runnel::net
