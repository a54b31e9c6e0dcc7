// The page of metrics of a role, for Prometheus: GET /metrics, and nothing else.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/worker_pool.h"
#include "net/server.h"

namespace runnel::net {

// "off" as an address: no metrics are served.
inline constexpr const char* kNoMetrics = "off";

// kInvalid unless it is "off" or ADDR:PORT (port 0: any free one).
Result<void> check_metrics_address(const std::string& listen);

// Any thread may call any method.
class MetricsServer final : public Handler {
 public:
  // Serves what `page` makes, on a thread of its own, from now on; null for "off". `page` may lock
  // and must live until this is gone. kConflict when the port is in use.
  static Result<std::unique_ptr<MetricsServer>> listen(const std::string& address,
                                                       std::function<std::string()> page);

  // The same for a role whose work is more important than its metrics: when the address cannot be
  // had, a warning says so and null is returned.
  static std::unique_ptr<MetricsServer> listen_or_warn(const std::string& address,
                                                       std::function<std::string()> page);
  ~MetricsServer() override;

  // "127.0.0.1:9863".
  std::string address() const;

  awaitable<Response> handle(Request& request, RequestBody& body) override;

 private:
  explicit MetricsServer(std::function<std::string()> page) : page_(std::move(page)) {}

  const std::function<std::string()> page_;
  WorkerPool pool_{1};
  std::string host_;
  std::unique_ptr<Server> server_;
};

}  // namespace runnel::net
