// What stands before the API: the records of what was asked, and whether the registry is well.
//
//   GET /healthz   200 while the process answers at all
//   GET /readyz    200 when it can serve: the database answers, and it was not told to stop; else
//   503
#pragma once

#include <atomic>
#include <memory>

#include "base/worker_pool.h"
#include "net/server.h"
#include "registry/journal.h"
#include "registry/services.h"
#include "registry/webhooks.h"

namespace runnel::registry {

// Any thread may call any method.
class Recorded final : public net::Handler {
 public:
  // Either journal, and the webhooks, may be null. The references must outlive it.
  Recorded(net::Handler& api, Services& services, std::unique_ptr<Journal> audit,
           std::unique_ptr<Journal> access, WebhookSender* webhooks)
      : api_(api),
        services_(services),
        audit_(std::move(audit)),
        access_(std::move(access)),
        webhooks_(webhooks) {}

  // A line of the audit log is written before its answer goes, one of the access log after.
  net::awaitable<net::Response> handle(net::Request& request, net::RequestBody& body) override;
  // Nothing where there is an audit log, whose lines are written by another thread.
  std::optional<net::Response> answer_at_once(net::Request& request) override;

  // From now on it says that it is not ready.
  void stop() { stopping_ = true; }
  void reopen();

 private:
  net::awaitable<net::Response> readiness();
  void record_access(const net::Request& request, const net::Response& response, Duration duration);

  net::Handler& api_;
  Services& services_;
  const std::unique_ptr<Journal> audit_;
  const std::unique_ptr<Journal> access_;
  WebhookSender* const webhooks_;
  std::atomic<bool> stopping_ = false;
  std::atomic<size_t> waiting_ = 0;  // lines of the access log that are not written yet
  std::atomic<size_t> dropped_ = 0;
  WorkerPool writer_{1};  // last: its tasks use all of the above
};

}  // namespace runnel::registry
