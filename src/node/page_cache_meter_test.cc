#include "node/page_cache_meter.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/fake_clock.h"

namespace runnel::node {
namespace {

using std::chrono::seconds;
using Bytes = std::map<std::string, uint64_t>;

// Layers that take a while to measure.
struct Layers {
  PageCacheMeter::Measure slow(const std::string& name, uint64_t bytes) {
    return [this, name, bytes] {
      measured.push_back(name);
      clock.advance(seconds(1));
      return bytes;
    };
  }
  std::map<std::string, PageCacheMeter::Measure> three(uint64_t bytes) {
    return {{"a", slow("a", bytes)}, {"b", slow("b", bytes)}, {"c", slow("c", bytes)}};
  }

  test::FakeClock clock;
  std::vector<std::string> measured;
};

TEST(PageCacheMeter, MeasuresEachLayerOnce) {
  Layers layers;
  PageCacheMeter meter(layers.clock, seconds(60));

  EXPECT_EQ(meter.measure(layers.three(7)), (Bytes{{"a", 7}, {"b", 7}, {"c", 7}}));

  EXPECT_EQ(layers.measured, (std::vector<std::string>{"a", "b", "c"}));
}

TEST(PageCacheMeter, StopsWhenItsTimeIsUpAndGoesOnThereTheNextTime) {
  Layers layers;
  PageCacheMeter meter(layers.clock, seconds(2));

  EXPECT_EQ(meter.measure(layers.three(7)), (Bytes{{"a", 7}, {"b", 7}, {"c", 0}}));
  EXPECT_EQ(meter.measure(layers.three(8)), (Bytes{{"a", 8}, {"b", 7}, {"c", 8}}));

  EXPECT_EQ(layers.measured, (std::vector<std::string>{"a", "b", "c", "a"}));
}

TEST(PageCacheMeter, ForgetsLayersThatAreGone) {
  Layers layers;
  PageCacheMeter meter(layers.clock, seconds(60));
  meter.measure({{"a", layers.slow("a", 7)}});

  EXPECT_EQ(meter.measure({{"b", layers.slow("b", 1)}}), (Bytes{{"b", 1}}));
}

}  // namespace
}  // namespace runnel::node
