#include "registry/conversions.h"

#include <limits>

#include "base/log.h"
#include "base/metrics_page.h"
#include "oci/document.h"
#include "oci/media_types.h"
#include "registry/streaming_settings.h"
#include "registry/teleport.h"

namespace runnel::registry {

using meta::CancelOutcome;
using meta::Claim;
using meta::Operation;
using meta::OperationStatus;

namespace {

// A dead process's conversions begin again after so long.
constexpr Duration kClaimLifetime = std::chrono::seconds(15);
// How often a runner says that it lives, looks whether another process canceled, and looks for what
// another process was asked for.
constexpr Duration kReportEvery = std::chrono::seconds(3);
constexpr Duration kLookEvery = std::chrono::milliseconds(400);
constexpr auto kIdle = std::chrono::seconds(1);
constexpr auto kKeepEvery = std::chrono::seconds(1);
constexpr auto kPauseAfterFailure = std::chrono::seconds(5);
// Less than a claim's life together with the database's own ten seconds of waiting.
constexpr auto kInsistEvery = std::chrono::milliseconds(400);
// What kills the process that converts it does not get to kill it for ever.
constexpr unsigned kMaxAttempts = 3;
constexpr Duration kForgetEvery = std::chrono::hours(1);
constexpr size_t kForgetAtOnce = 1000;

}  // namespace

// A claim while it is worked on: whether it still holds, and how far the work is.
class Conversions::Hold {
 public:
  Hold(Conversions& conversions, Claim claim, const std::stop_token& stop)
      : conversions_(conversions), claim_(std::move(claim)), stop_(stop) {
    const std::lock_guard lock(conversions_.mutex_);
    conversions_.running_.emplace(claim_.operation, false);
  }
  ~Hold() {
    const std::lock_guard lock(conversions_.mutex_);
    conversions_.running_.erase(claim_.operation);
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  void progress(unsigned percent) { percent_ = std::max(percent_, percent); }

  // Whether the work is to end: the claim is gone, or the process stops.
  bool is_over() {
    if (stop_.stop_requested()) return true;
    if (!lost_ && conversions_.is_canceled(claim_.operation)) lost_ = true;
    const auto now = conversions_.clock_.now();
    if (lost_ || now < look_at_) return lost_;
    look_at_ = now + kLookEvery;
    if (now < report_at_ && percent_ == reported_)
      look();
    else
      report(now);
    return lost_;
  }
  bool is_lost() const { return lost_; }

 private:
  // A database that does not answer is no cancellation: the claim says when it is too late.
  void look() {
    const auto found = conversions_.queue_.operation(claim_.operation);
    if (found && (!*found || (*found)->status != OperationStatus::kRunning)) lost_ = true;
  }
  void report(SteadyTime now) {
    const auto held = conversions_.queue_.report(claim_, percent_, kClaimLifetime);
    if (held && !*held) lost_ = true;
    if (!held) return;
    report_at_ = now + kReportEvery;
    reported_ = percent_;
  }

  Conversions& conversions_;
  const Claim claim_;
  const std::stop_token& stop_;
  unsigned percent_ = 0;
  unsigned reported_ = 0;
  SteadyTime look_at_{};
  SteadyTime report_at_{};
  bool lost_ = false;
};

Conversions::Conversions(const ConversionTools& tools, meta::OperationQueue& queue,
                         const Clock& clock, WebhookSender* webhooks)
    : tools_(tools),
      queue_(queue),
      clock_(clock),
      webhooks_(webhooks),
      held_tags_(tools.metadata, clock, tools.config.soft_delete_policy()) {
  for (unsigned i = 0; i < tools.config.conversion.concurrency; ++i)
    runners_.emplace_back(
        [this](const std::stop_token& stop) { run(stop, meta::random_operation_id()); });
  keeper_ = std::jthread([this](const std::stop_token& stop) { keep(stop); });
}

Conversions::~Conversions() {
  keeper_.request_stop();
  for (auto& runner : runners_) runner.request_stop();
}

Result<meta::Enqueued> Conversions::request(const meta::NewOperation& wanted) {
  RUNNEL_TRY(auto enqueued, queue_.enqueue(wanted));
  const std::lock_guard lock(mutex_);
  ++news_;
  wake_.notify_all();
  return enqueued;
}

Result<CancelOutcome> Conversions::cancel(const std::string& id) {
  RUNNEL_TRY(const auto outcome, queue_.cancel(id));
  if (outcome != CancelOutcome::kCanceled) return outcome;
  RUNNEL_TRY(const auto canceled, queue_.operation(id));
  if (!canceled) return outcome;
  {
    // A runner here need not wait until it looks into the database.
    const std::lock_guard lock(mutex_);
    if (const auto running = running_.find(id); running != running_.end()) running->second = true;
  }
  release_tags(*canceled);
  return outcome;
}

bool Conversions::is_canceled(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto running = running_.find(id);
  return running != running_.end() && running->second;
}

Result<Conversions::PushPlan> Conversions::plan_push(const std::string& repository,
                                                     const meta::NewManifest& manifest) {
  PushPlan plan;
  // Without a tag it is a part of an index that comes later.
  if (manifest.tags.empty()) return plan;
  RUNNEL_TRY(const auto document, oci::parse_document(manifest.bytes, manifest.media_type));
  if (!may_be_converted(document, tools_.config.conversion.platforms)) return plan;
  RUNNEL_TRY(const auto settings, load_streaming_settings(tools_.metadata, repository));
  RUNNEL_TRY(const bool expanded,
             teleport_push(tools_.metadata, repository, tools_.config.teleport));
  plan.convert = settings.convert_pushed || expanded;
  if (!plan.convert || settings.hold_tag.count() == 0) return plan;
  RUNNEL_TRY(const auto artifacts,
             tools_.metadata.referrers(repository, manifest.digest,
                                       {std::string(oci::kStreamingArtifactHere)},
                                       std::numeric_limits<int64_t>::max(), 1));
  if (artifacts.empty()) plan.hold = settings.hold_tag;
  return plan;
}

void Conversions::convert_pushed(const std::string& repository, const oci::Digest& digest,
                                 const std::string& principal) {
  const auto enqueued = request({.repository = repository,
                                 .digest = digest,
                                 .priority = meta::OperationPriority::kAutomatic,
                                 .principal = principal});
  if (!enqueued)
    log::error("{}@{} will not be converted by itself: {}", repository, digest,
               enqueued.error().message);
}

std::string Conversions::metrics_text() const {
  MetricsPage page;
  const auto conversions = [&](const char* outcome, uint64_t count) {
    page.counter("runnel_registry_conversions_total", "Conversions that ended here.", count,
                 {{"outcome", outcome}});
  };
  conversions("succeeded", succeeded_);
  conversions("failed", failed_);
  conversions("given_up", dropped_);
  const auto layers = [&](const char* how, uint64_t count) {
    page.counter("runnel_registry_conversion_layers_total",
                 "Layers of conversions that succeeded: converted, or reused of an earlier one.",
                 count, {{"how", how}});
  };
  layers("converted", converted_layers_);
  layers("reused", reused_layers_);
  return page.text();
}

void Conversions::keep(const std::stop_token& stop) {
  auto forget_at = clock_.now();
  std::mutex mutex;
  std::condition_variable_any wake;
  while (!stop.stop_requested()) {
    if (const auto released = held_tags_.release_due(); !released)
      log::warning("tags that wait for artifacts: {}", released.error().message);
    if (clock_.now() >= forget_at) {
      forget_old();
      forget_at = clock_.now() + kForgetEvery;
    }
    std::unique_lock lock(mutex);
    wake.wait_for(lock, stop, kKeepEvery, [] { return false; });
  }
}

void Conversions::release_tags(const Operation& operation) {
  const auto released = held_tags_.release(operation.repository, operation.digest);
  // The keeper tries again when their time is over.
  if (!released)
    log::warning("tags of {}@{}: {}", operation.repository, operation.digest,
                 released.error().message);
}

void Conversions::run(const std::stop_token& stop, const std::string& owner) {
  while (!stop.stop_requested()) {
    uint64_t seen = 0;
    {
      const std::lock_guard lock(mutex_);
      seen = news_;
    }
    const auto claimed = queue_.claim(owner, kClaimLifetime);
    if (!claimed) log::warning("the queue of conversions: {}", claimed.error().message);
    if (claimed && *claimed) {
      work(**claimed, owner, stop);
      continue;
    }
    std::unique_lock lock(mutex_);
    if (claimed)
      wake_.wait_for(lock, stop, kIdle, [&] { return news_ != seen; });
    else
      wake_.wait_for(lock, stop, kPauseAfterFailure, [] { return false; });
  }
}

void Conversions::forget_old() {
  const auto before = clock_.wall() - tools_.config.conversion.keep_operations;
  while (true) {
    const auto forgotten = queue_.forget_operations(before, kForgetAtOnce);
    if (!forgotten) log::warning("forgetting old operations: {}", forgotten.error().message);
    if (!forgotten || *forgotten < kForgetAtOnce) return;
  }
}

void Conversions::work(const Operation& operation, const std::string& owner,
                       const std::stop_token& stop) {
  const Claim claim{.operation = operation.id, .owner = owner};
  if (operation.attempts > kMaxAttempts) {
    log::error("conversion {} of {}@{} ended its process {} times and is given up", operation.id,
               operation.repository, operation.digest, kMaxAttempts);
    end(operation, claim, std::unexpected(unknown_error()), stop);
    return;
  }
  Hold hold(*this, claim, stop);
  const ConversionWatch watch{.progress = [&](unsigned percent) { hold.progress(percent); },
                              .give_up = [&] { return hold.is_over(); }};
  auto outcome = [&]() -> Convertible<ConversionResult> {
    RUNNEL_TRY(auto source,
               read_conversion_source(tools_.metadata, tools_.blobs, operation.repository,
                                      operation.digest, tools_.config.conversion.platforms));
    ImageConversion conversion(tools_, operation.repository, std::move(source), watch);
    RUNNEL_DO(conversion.prepare());
    const auto begin = [&] { return queue_.begin_publishing(claim, kClaimLifetime); };
    RUNNEL_TRY(const bool held, insist(claim, begin, stop));
    if (!held) return std::unexpected(ConversionFailure(Error(Code::kCancelled, "given up")));
    return conversion.publish();
  }();
  if (!outcome && outcome.error().given_up) {
    ++dropped_;
    if (!hold.is_lost()) {
      if (const auto released = queue_.release(claim); !released)
        log::warning("conversion {}: {}", operation.id, released.error().message);
    }
    log::info("conversion {} of {}@{} was given up", operation.id, operation.repository,
              operation.digest);
    return;
  }
  end(operation, claim, outcome, stop);
}

void Conversions::end(const Operation& operation, const Claim& claim,
                      const Convertible<ConversionResult>& outcome, const std::stop_token& stop) {
  meta::OperationEnd ending;
  if (outcome) {
    ++succeeded_;
    converted_layers_ += outcome->converted_layers;
    reused_layers_ += outcome->reused_layers;
    log::info("conversion {} of {}@{}: {} artifacts, {} layers converted, {} reused", operation.id,
              operation.repository, operation.digest, outcome->artifacts.size(),
              outcome->converted_layers, outcome->reused_layers);
  } else {
    ++failed_;
    ending.status = OperationStatus::kFailed;
    ending.code = outcome.error().code;
    ending.message = outcome.error().message;
    log::warning("conversion {} of {}@{}: {}: {}", operation.id, operation.repository,
                 operation.digest, ending.code, ending.message);
  }
  release_tags(operation);
  // Before the end: a crash in between tells of it twice rather than never.
  if (webhooks_ != nullptr)
    webhooks_->remember(operation, ending,
                        outcome ? outcome->artifacts : std::vector<oci::Digest>());
  const auto finished = insist(claim, [&] { return queue_.finish(claim, ending); }, stop);
  if (!finished) log::error("conversion {}: {}", operation.id, finished.error().message);
  // Once more: a push may have joined the operation since, and nobody else lets its tags go.
  release_tags(operation);
}

Result<bool> Conversions::insist(const Claim& claim, const std::function<Result<bool>()>& ask,
                                 const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  for (int attempt = 1;; ++attempt) {
    auto answered = ask();
    if (answered || stop.stop_requested()) return answered;
    if (attempt == 1) log::warning("conversion {}: {}", claim.operation, answered.error().message);
    std::unique_lock lock(mutex);
    wake.wait_for(lock, stop, kInsistEvery, [] { return false; });
  }
}

}  // namespace runnel::registry
