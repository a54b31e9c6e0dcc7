#include "registry/traffic.h"

#include <algorithm>
#include <array>

#include "base/metrics_page.h"
#include "registry/reply.h"
#include "registry/route.h"

namespace runnel::registry {

namespace {

using Kind = Route::Kind;

constexpr std::array<std::string_view, 6> kMethods = {"GET",  "HEAD",  "PUT",
                                                      "POST", "PATCH", "DELETE"};

// A client chooses the text of its method and path; labels are of fixed sets.
std::string method_label(const std::string& method) {
  return std::ranges::find(kMethods, method) == kMethods.end() ? "other" : method;
}

const char* route_label(const std::optional<Kind>& kind) {
  if (!kind) return "other";
  switch (*kind) {
    case Kind::kBase: return "base";
    case Kind::kCatalog: return "catalog";
    case Kind::kTags: return "tags";
    case Kind::kManifest: return "manifest";
    case Kind::kReferrers: return "referrers";
    case Kind::kBlob: return "blob";
    case Kind::kUploads:
    case Kind::kUpload: return "upload";
  }
  return "other";
}

// Counts what is read of a body.
class CountedBody final : public net::RequestBody {
 public:
  CountedBody(net::RequestBody& body, Traffic& traffic) : body_(body), traffic_(traffic) {}

  net::awaitable<Result<size_t>> read(MutableBytes into) override {
    auto size = co_await body_.read(into);
    if (size) traffic_.add_received(*size);
    co_return size;
  }
  std::optional<uint64_t> content_length() const override { return body_.content_length(); }

 private:
  net::RequestBody& body_;
  Traffic& traffic_;
};

}  // namespace

void Traffic::add(const std::string& method, const std::string& route, int status,
                  Duration duration) {
  const std::lock_guard lock(mutex_);
  ++requests_[{method, route, status}];
  durations_[route].add(duration);
}

void Traffic::add_collection(const Collected& collected, WallTime now) {
  const std::lock_guard lock(mutex_);
  collected_.links += collected.links;
  collected_.blobs += collected.blobs;
  collected_.bytes += collected.bytes;
  ++collections_;
  last_collection_ = now;
}

void Traffic::set_stored(const meta::Stored& stored) {
  const std::lock_guard lock(mutex_);
  stored_ = stored;
}

std::string Traffic::metrics_text() const {
  MetricsPage page;
  page.gauge("runnel_registry_info", "Always 1; the label says what runs.", 1,
             {{"version", RUNNEL_VERSION}});
  const std::lock_guard lock(mutex_);
  for (const auto& [key, count] : requests_) {
    const auto& [method, route, status] = key;
    page.counter("runnel_registry_requests_total", "Requests answered.", count,
                 {{"method", method}, {"route", route}, {"code", std::to_string(status)}});
  }
  for (const auto& [route, durations] : durations_) {
    page.histogram("runnel_registry_request_seconds",
                   "Time until an answer began: without sending its body.", durations.snapshot(),
                   {{"route", route}});
  }
  page.counter("runnel_registry_received_bytes_total", "Bytes of requests' bodies.", received_);
  page.counter("runnel_registry_sent_bytes_total", "Bytes of answers' bodies, as announced.",
               sent_);
  page.counter("runnel_registry_pushes_total", "Manifests that were pushed.", pushes_);
  page.counter("runnel_registry_pulls_total", "Manifests that were given out.", pulls_);
  page.counter("runnel_registry_expired_uploads_total", "Uploads that nobody finished.",
               expired_uploads_);
  page.counter("runnel_registry_collections_total", "Runs of the garbage collection.",
               collections_);
  page.counter("runnel_registry_collected_blobs_total", "Blobs that no manifest needed.",
               collected_.blobs);
  page.counter("runnel_registry_collected_bytes_total", "Bytes of those blobs.", collected_.bytes);
  const auto seconds = std::chrono::duration<double>(last_collection_.time_since_epoch()).count();
  page.gauge("runnel_registry_last_collection_timestamp_seconds",
             "When the last collection ended, in seconds since 1970; 0 for not yet.", seconds);
  if (stored_) {
    page.gauge("runnel_registry_stored_blobs", "Blobs that a repository has.",
               static_cast<double>(stored_->blobs));
    const char* help = "Bytes that are stored: each blob once, and the database.";
    page.gauge("runnel_registry_stored_bytes", help, static_cast<double>(stored_->blob_bytes),
               {{"what", "blobs"}});
    page.gauge("runnel_registry_stored_bytes", help, static_cast<double>(stored_->metadata_bytes),
               {{"what", "metadata"}});
  }
  return page.text();
}

net::awaitable<net::Response> Counted::handle(net::Request& request, net::RequestBody& body) {
  const auto started = std::chrono::steady_clock::now();
  CountedBody counted(body, traffic_);
  auto response = co_await api_.handle(request, counted);
  count(request, response, started);
  co_return response;
}

std::optional<net::Response> Counted::answer_at_once(net::Request& request) {
  const auto started = std::chrono::steady_clock::now();
  auto response = api_.answer_at_once(request);
  if (response) count(request, *response, started);
  return response;
}

void Counted::count(const net::Request& request, const net::Response& response,
                    SteadyTime started) {
  const auto kind = kind_of_route(request.path);
  const auto method = method_label(request.method);
  traffic_.add(method, route_label(kind), response.status,
               std::chrono::steady_clock::now() - started);
  if (method != "HEAD") traffic_.add_sent(announced_size(response));
  if (kind == Kind::kManifest && method == "PUT" && response.status == 201) traffic_.add_push();
  if (kind == Kind::kManifest && method == "GET" && response.status == 200) traffic_.add_pull();
}

}  // namespace runnel::registry
