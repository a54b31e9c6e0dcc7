#include "node/metrics.h"

#include "base/metrics_page.h"

namespace runnel::node {

namespace {

using fetch::FetchStats;
using fetch::Priority;

void add_reads(MetricsPage& page, const engine::ReadCounters& reads) {
  page.counter("runnel_node_reads_total", "Reads of layers that are not complete on this node.",
               reads.reads);
  page.counter("runnel_node_read_bytes_total", "Bytes given to readers of such layers.",
               reads.bytes);
  page.counter("runnel_node_read_errors_total", "Reads that ended with EIO.", reads.errors);
  page.counter("runnel_node_read_timeouts_total", "Reads that ended with EIO at their deadline.",
               reads.expired);
  page.gauge("runnel_node_reads_waiting", "Reads that wait now.",
             static_cast<double>(reads.waiting));
  page.histogram("runnel_node_read_wait_seconds",
                 "How long reads waited that could not be answered from memory at once.",
                 reads.waits);
}

void add_for_each(MetricsPage& page, const FetchStats& stats, const char* name, const char* help,
                  uint64_t FetchStats::Counts::* member) {
  for (const auto priority : {Priority::kDemand, Priority::kPrefetch, Priority::kBackground}) {
    page.counter(name, help, stats[priority].*member, {{"priority", fetch::to_string(priority)}});
  }
}

void add_fetches(MetricsPage& page, const FetchStats& stats) {
  using Counts = FetchStats::Counts;
  add_for_each(page, stats, "runnel_node_fetch_requests_total", "Requests sent to registries.",
               &Counts::requests);
  add_for_each(page, stats, "runnel_node_fetch_bytes_total", "Bytes received from registries.",
               &Counts::bytes);
  add_for_each(page, stats, "runnel_node_fetch_retries_total", "Reads that went out once more.",
               &Counts::retries);
  add_for_each(page, stats, "runnel_node_fetch_errors_total", "Reads that were given up.",
               &Counts::failures);
  uint64_t in_flight = 0;
  uint64_t queued = 0;
  for (const auto& counts : stats.of) {
    in_flight += counts.in_flight;
    queued += counts.queued;
  }
  page.gauge("runnel_node_fetch_requests_in_flight", "Requests that registries answer now.",
             static_cast<double>(in_flight));
  page.gauge("runnel_node_fetch_queue_length", "Reads that wait to be sent.",
             static_cast<double>(queued));
}

void add_cache(MetricsPage& page, const cache::Cache::Totals& cache) {
  page.gauge("runnel_node_layers", "Layers in the cache, by whether all of their bytes are here.",
             static_cast<double>(cache.complete), {{"complete", "true"}});
  page.gauge("runnel_node_layers", "", static_cast<double>(cache.layers - cache.complete),
             {{"complete", "false"}});
  page.gauge("runnel_node_cache_bytes", "Bytes of layers that are on this node.",
             static_cast<double>(cache.bytes_present));
  page.gauge("runnel_node_layer_bytes", "Bytes of the same layers when they are complete.",
             static_cast<double>(cache.bytes));
  page.gauge("runnel_node_cache_unsynced_bytes", "Bytes in memory that are not durable yet.",
             static_cast<double>(cache.unsynced_bytes));
  page.counter("runnel_node_corrupt_chunks_total", "Chunks that came with wrong bytes.",
               cache.corrupt_chunks);
  page.counter("runnel_node_restored_bytes_total", "Bytes that were made from original layers.",
               cache.bytes_restored);
  page.counter("runnel_node_borrowed_bytes_total", "Bytes that were taken from other layers.",
               cache.bytes_borrowed);
}

void add_images(MetricsPage& page, const std::vector<Images::ImageStatus>& images) {
  std::map<std::string, uint64_t> count;
  for (const auto& image : images) {
    ++count[image.preparing ? "Preparing" : to_string(image.verdict.reason)];
  }
  count.try_emplace("Streaming", 0);  // a family that is not there cannot be alerted on
  for (const auto& [reason, images_of] : count) {
    page.gauge("runnel_node_images", "Images that this node was asked about, by reason.",
               static_cast<double>(images_of), {{"reason", reason}});
  }
}

void add_page_cache(MetricsPage& page, const std::vector<Images::ImageStatus>& images) {
  std::map<std::string, uint64_t> bytes;  // images share layers
  for (const auto& image : images) {
    for (const auto& layer : image.layers) bytes[layer.digest] = layer.page_cache;
  }
  uint64_t sum = 0;
  for (const auto& [digest, of_layer] : bytes) sum += of_layer;
  page.gauge("runnel_node_page_cache_bytes",
             "Of the files of layers that images stream from, in the kernel's page cache; not of "
             "layers that only the cache still has.",
             static_cast<double>(sum));
}

void add_calls(MetricsPage& page, const snapshot::CallCounts::Snapshot& calls) {
  for (const auto& [which, count] : calls.counts) {
    page.counter("runnel_node_snapshotter_calls_total",
                 "Calls of containerd, by how they ended; Prepare with \"already exists\" is a "
                 "layer that streams.",
                 count, {{"call", which.first}, {"code", which.second}});
  }
  for (const auto& [call, durations] : calls.durations) {
    page.histogram("runnel_node_snapshotter_call_seconds", "How long calls of containerd took.",
                   durations, {{"call", call}});
  }
}

}  // namespace

std::string metrics_text(const Measured& measured) {
  MetricsPage page;
  const auto engine = measured.engine.status();
  page.gauge("runnel_node_info", "Always 1; the labels say what runs.", 1,
             {{"version", RUNNEL_VERSION}, {"engine", to_string(engine.way)}});
  page.counter("runnel_node_worker_restarts_total", "Workers that the holder had to start anew.",
               measured.worker_restarts);
  add_reads(page, engine.reads);
  add_fetches(page, measured.fetcher.stats());
  add_cache(page, engine.cache);
  auto images = measured.images.status();
  measured.images.add_page_cache(images);
  add_images(page, images);
  add_page_cache(page, images);
  page.gauge("runnel_node_mounts", "Streamed images, or lower parts of them, that are mounted.",
             static_cast<double>(engine.mounts.size()));
  add_calls(page, measured.calls.snapshot());
  return page.text();
}

}  // namespace runnel::node
