// Conversion as a service: takes requests into the durable queue, and works it off.
//
// Runners are threads. One claims an operation, converts (image_conversion.h), makes the artifacts
// visible, tells the receivers of webhooks, and ends it. What a process leaves by dying is claimed
// again when its claim is over; what it leaves by stopping, at once.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "artifact/signature.h"
#include "base/clock.h"
#include "meta/operation_queue.h"
#include "registry/held_tags.h"
#include "registry/image_conversion.h"
#include "registry/webhooks.h"

namespace runnel::registry {

// Any thread may call any method; those that touch the queue block.
class Conversions {
 public:
  // The references must outlive it. `webhooks` may be null.
  Conversions(const ConversionTools& tools, meta::OperationQueue& queue, const Clock& clock,
              WebhookSender* webhooks);
  // Kills what runs and gives it back to the queue.
  ~Conversions();

  meta::OperationQueue& queue() { return queue_; }
  const artifact::Key& key() const { return tools_.key; }

  Result<meta::Enqueued> request(const meta::NewOperation& wanted);
  Result<meta::CancelOutcome> cancel(const std::string& id);

  // What a push of a manifest with tags brings about.
  struct PushPlan {
    bool convert = false;  // its repository wants that, and it may be an image
    Duration hold{};       // how long its tags wait for the artifact; 0: they do not
  };
  Result<PushPlan> plan_push(const std::string& repository, const meta::NewManifest& manifest);
  // The manifest is there, and its plan says that it is converted. The push has succeeded whatever
  // comes of it: held tags, for one, go when their time is over.
  void convert_pushed(const std::string& repository, const oci::Digest& digest,
                      const std::string& principal);

  // runnel_registry_conversions_total and the like.
  std::string metrics_text() const;

 private:
  class Hold;

  void run(const std::stop_token& stop, const std::string& owner);
  // Lets tags go whose time is over, and forgets old operations.
  void keep(const std::stop_token& stop);
  void release_tags(const meta::Operation& operation);
  void work(const meta::Operation& operation, const std::string& owner,
            const std::stop_token& stop);
  void end(const meta::Operation& operation, const meta::Claim& claim,
           const Convertible<ConversionResult>& outcome, const std::stop_token& stop);
  // Asks the queue again while the database does not answer and nobody stops: what is done is not
  // to be done once more because a writer took long. False when the claim is gone.
  Result<bool> insist(const meta::Claim& claim, const std::function<Result<bool>()>& ask,
                      const std::stop_token& stop);
  void forget_old();
  bool is_canceled(const std::string& id);

  const ConversionTools& tools_;
  meta::OperationQueue& queue_;
  const Clock& clock_;
  WebhookSender* const webhooks_;
  HeldTags held_tags_;

  std::mutex mutex_;
  std::condition_variable_any wake_;
  uint64_t news_ = 0;
  // What runs here, and whether somebody canceled it here since.
  std::map<std::string, bool, std::less<>> running_;

  std::atomic<uint64_t> succeeded_ = 0;
  std::atomic<uint64_t> failed_ = 0;
  std::atomic<uint64_t> dropped_ = 0;  // canceled, or taken over by another process
  std::atomic<uint64_t> converted_layers_ = 0;
  std::atomic<uint64_t> reused_layers_ = 0;

  // Last: they use all of the above.
  std::vector<std::jthread> runners_;
  std::jthread keeper_;
};

}  // namespace runnel::registry
