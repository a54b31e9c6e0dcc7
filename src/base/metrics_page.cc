#include "base/metrics_page.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <sstream>

namespace runnel {

using prometheus::ClientMetric;
using prometheus::MetricType;

struct MetricsPage::Families {
  ClientMetric& add(const std::string& name, const std::string& help, MetricType type,
                    const Labels& labels) {
    if (list.empty() || list.back().name != name) {
      list.push_back({.name = name, .help = help, .type = type, .metric = {}});
    }
    auto& metric = list.back().metric.emplace_back();
    for (const auto& [label, value] : labels) metric.label.push_back({label, value});
    return metric;
  }

  std::vector<prometheus::MetricFamily> list;
};

MetricsPage::MetricsPage() : families_(std::make_unique<Families>()) {}
MetricsPage::~MetricsPage() = default;

void MetricsPage::counter(const std::string& name, const std::string& help, uint64_t value,
                          const Labels& labels) {
  families_->add(name, help, MetricType::Counter, labels).counter.value =
      static_cast<double>(value);
}

void MetricsPage::gauge(const std::string& name, const std::string& help, double value,
                        const Labels& labels) {
  families_->add(name, help, MetricType::Gauge, labels).gauge.value = value;
}

void MetricsPage::histogram(const std::string& name, const std::string& help,
                            const Histogram::Snapshot& of, const Labels& labels) {
  auto& histogram = families_->add(name, help, MetricType::Histogram, labels).histogram;
  uint64_t below = 0;
  for (size_t i = 0; i < of.counts.size(); ++i) {
    below += of.counts[i];
    const double bound = i < Histogram::kBounds.size() ? Histogram::kBounds[i]
                                                       : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({.cumulative_count = below, .upper_bound = bound});
  }
  histogram.sample_count = below;
  histogram.sample_sum = of.sum_s;
}

std::string MetricsPage::text() const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families_->list);
  return out.str();
}

}  // namespace runnel
