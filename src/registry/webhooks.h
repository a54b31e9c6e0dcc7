// Tells other services, over HTTP, what was pushed, deleted and restored.
//
// An event is a document of the metadata store from before its request is answered until its
// receiver said 2xx (webhook_events.h), so a restart loses none. A receiver may get an event twice
// (its id says so). Each receiver has a thread (webhook_delivery.h): none waits for another one.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "meta/metadata_store.h"
#include "meta/operation_queue.h"
#include "net/client.h"
#include "net/server.h"
#include "registry/webhook_config.h"
#include "registry/webhook_delivery.h"
#include "registry/webhook_events.h"

namespace runnel::registry {

// Any thread may call any method; remember() blocks.
class WebhookSender {
 public:
  // The references must outlive it.
  WebhookSender(const Webhooks& webhooks, meta::MetadataStore& metadata, const Clock& clock,
                const WebhookPace& pace = {});
  // Waits for the answers that are under way.
  ~WebhookSender();

  // Keeps an event for every receiver that wants it, if the answered request was one.
  void remember(const net::Request& request, const net::Response& response);
  // The same for a conversion that ended.
  void remember(const meta::Operation& operation, const meta::OperationEnd& end,
                const std::vector<oci::Digest>& artifacts);

 private:
  struct Event;
  void keep(std::string_view principal, Event event);
  uint64_t next_number();
  void tidy(const std::stop_token& stop);

  const Webhooks& webhooks_;
  const Clock& clock_;
  WebhookEvents events_;
  std::map<std::string, std::unique_ptr<net::Client>> clients_;  // by WebhookConfig::ca
  std::atomic<uint64_t> last_ = 0;                               // event's number
  // Last: their threads use all of the above.
  std::map<std::string, std::unique_ptr<WebhookDelivery>, std::less<>> deliveries_;
  std::jthread tidying_;  // once
};

}  // namespace runnel::registry
