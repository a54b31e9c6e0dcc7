// Tells other services, over HTTP, what was pushed, deleted and restored.
//
// An event is a document of the metadata store from before its request is answered until its
// receiver said 2xx, so a restart loses none. A receiver may get an event twice (its id says so),
// and in another order than they happened when it failed in between.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "meta/metadata_store.h"
#include "meta/operation_queue.h"
#include "net/client.h"
#include "net/server.h"

namespace runnel::registry {

struct WebhookConfig {
  std::string url;
  std::vector<std::string> repositories = {"*"};
  std::string authorization;  // the header's value; "": none
  std::string
      ca;  // path of a PEM file that vouches for the receiver, besides the system's; "": none
};
using Webhooks = std::map<std::string, WebhookConfig>;

// Any thread may call any method; remember() blocks.
class WebhookSender {
 public:
  // The references must outlive it.
  WebhookSender(const Webhooks& webhooks, meta::MetadataStore& metadata, const Clock& clock);
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
  void run(const std::stop_token& stop);
  // How many could not be sent.
  size_t send_due(const std::stop_token& stop);
  bool send(const meta::Document& event);

  const Webhooks& webhooks_;
  meta::MetadataStore& metadata_;
  const Clock& clock_;
  std::map<std::string, std::unique_ptr<net::Client>> clients_;  // by WebhookConfig::ca
  std::atomic<uint64_t> last_ = 0;                               // event's number
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool news_ = true;  // what a process before this one left
  std::jthread thread_;
};

}  // namespace runnel::registry
