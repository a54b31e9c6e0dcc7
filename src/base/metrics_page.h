// A page of metrics, as Prometheus reads it.
//
// A page is made when it is asked for, from counters that the parts of the program keep anyway;
// nothing registers itself anywhere. Names end in their unit ("_seconds", "_bytes"), those of
// counters in "_total". No label has an unbounded set of values: no image, no layer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/histogram.h"

namespace runnel {

class MetricsPage {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  MetricsPage();
  ~MetricsPage();

  // Calls for one name stand next to each other; each has other labels.
  void counter(const std::string& name, const std::string& help, uint64_t value,
               const Labels& labels = {});
  void gauge(const std::string& name, const std::string& help, double value,
             const Labels& labels = {});
  void histogram(const std::string& name, const std::string& help, const Histogram::Snapshot& of,
                 const Labels& labels = {});

  // In the text format, version 0.0.4.
  std::string text() const;
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  struct Families;
  const std::unique_ptr<Families> families_;
};

}  // namespace runnel
