#include "registry/traffic.h"

#include <gtest/gtest.h>

namespace runnel::registry {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Traffic, CountsRequestsByRouteAndCode) {
  Traffic traffic;

  traffic.add("GET", "blob", 200, milliseconds(3));
  traffic.add("GET", "blob", 200, milliseconds(3));
  traffic.add("GET", "blob", 404, milliseconds(1));

  const auto page = traffic.metrics_text();
  EXPECT_TRUE(
      page.contains("runnel_registry_requests_total{method=\"GET\",route=\"blob\","
                    "code=\"200\"} 2\n"))
      << page;
  EXPECT_TRUE(page.contains("code=\"404\"} 1\n"));
  EXPECT_TRUE(page.contains("runnel_registry_request_seconds_count{route=\"blob\"} 3\n"));
}

TEST(Traffic, SaysWhatIsStoredOnceItIsKnown) {
  Traffic traffic;
  EXPECT_FALSE(traffic.metrics_text().contains("runnel_registry_stored"));

  traffic.set_stored({.blobs = 3, .blob_bytes = 12'345'678'901, .metadata_bytes = 98'304});

  const auto page = traffic.metrics_text();
  EXPECT_TRUE(page.contains("runnel_registry_stored_blobs 3\n")) << page;
  EXPECT_TRUE(page.contains("runnel_registry_stored_bytes{what=\"blobs\"} 12345678901\n")) << page;
  EXPECT_TRUE(page.contains("runnel_registry_stored_bytes{what=\"metadata\"} 98304\n")) << page;
}

TEST(Traffic, AddsUpCollections) {
  Traffic traffic;

  traffic.add_collection({.links = 1, .blobs = 2, .bytes = 300}, WallTime(seconds(50)));
  traffic.add_collection({.links = 1, .blobs = 1, .bytes = 7}, WallTime(seconds(60)));

  const auto page = traffic.metrics_text();
  EXPECT_TRUE(page.contains("runnel_registry_collections_total 2\n")) << page;
  EXPECT_TRUE(page.contains("runnel_registry_collected_blobs_total 3\n"));
  EXPECT_TRUE(page.contains("runnel_registry_collected_bytes_total 307\n"));
  EXPECT_TRUE(page.contains("runnel_registry_last_collection_timestamp_seconds 60\n"));
}

}  // namespace
}  // namespace runnel::registry
