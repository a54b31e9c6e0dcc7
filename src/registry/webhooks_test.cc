#include "registry/webhooks.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"
#include "support/memory_metadata_store.h"

namespace runnel::registry {
namespace {

net::Request push() {
  net::Request request;
  request.method = "PUT";
  request.path = "/v2/a/manifests/v1";
  return request;
}

TEST(WebhookSender, KeepsAnEventForADayAlsoWhenTheRegistryRunsForLonger) {
  test::FakeClock clock;
  test::MemoryMetadataStore metadata(test::MemoryMetadataStore::new_data(), clock);
  Webhooks webhooks;
  webhooks["one"].url = "http://127.0.0.1:1/";  // nobody is there
  WebhookSender sender(webhooks, metadata, clock);
  clock.advance(std::chrono::hours(25));

  sender.remember(push(), net::Response(201));
  sender.remember(push(), net::Response(201));

  const auto kept = metadata.documents("webhook-event", "", 10).value();
  ASSERT_EQ(kept.size(), 2u);
  const auto now = std::chrono::nanoseconds(clock.wall().time_since_epoch()).count();
  EXPECT_EQ(std::stoll(kept[0].name.substr(0, 20)), now);
  EXPECT_EQ(std::stoll(kept[1].name.substr(0, 20)), now + 1);
}

}  // namespace
}  // namespace runnel::registry
