#include "base/metrics_page.h"

#include <gtest/gtest.h>

namespace runnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;

TEST(MetricsPage, IsTextThatPrometheusReads) {
  MetricsPage page;

  page.counter("runnel_a_total", "Things.", 3, {{"kind", "x"}});
  page.counter("runnel_a_total", "Things.", 4, {{"kind", "a \"quoted\"\nname"}});
  page.gauge("runnel_b_bytes", "Bytes.", 1.5);

  EXPECT_EQ(page.text(),
            "# HELP runnel_a_total Things.\n# TYPE runnel_a_total counter\n"
            "runnel_a_total{kind=\"x\"} 3\n"
            "runnel_a_total{kind=\"a \\\"quoted\\\"\\nname\"} 4\n"
            "# HELP runnel_b_bytes Bytes.\n# TYPE runnel_b_bytes gauge\n"
            "runnel_b_bytes 1.5\n");
}

TEST(MetricsPage, CountsAHistogramUpward) {
  Histogram histogram;
  histogram.add(milliseconds(1));
  histogram.add(milliseconds(2));
  histogram.add(minutes(2));
  MetricsPage page;

  page.histogram("runnel_wait_seconds", "Waits.", histogram.snapshot());

  const auto text = page.text();
  EXPECT_TRUE(text.contains("runnel_wait_seconds_bucket{le=\"0.001\"} 1\n")) << text;
  EXPECT_TRUE(text.contains("runnel_wait_seconds_bucket{le=\"0.0025\"} 2\n")) << text;
  EXPECT_TRUE(text.contains("runnel_wait_seconds_bucket{le=\"60\"} 2\n")) << text;
  EXPECT_TRUE(text.contains("runnel_wait_seconds_bucket{le=\"+Inf\"} 3\n")) << text;
  EXPECT_TRUE(text.contains("runnel_wait_seconds_count 3\n")) << text;
  EXPECT_TRUE(text.contains("runnel_wait_seconds_sum 120.003\n")) << text;
}

}  // namespace
}  // namespace runnel
