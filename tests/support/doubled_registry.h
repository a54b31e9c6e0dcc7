// The registry's API over stores in memory that take their time: what object storage and another
// database than SQLite would be like.
#pragma once

#include <memory>
#include <thread>

#include "net/server.h"
#include "registry/api.h"
#include "registry/services.h"
#include "registry/uploads.h"
#include "support/memory_blob_store.h"
#include "support/memory_metadata_store.h"

namespace runnel::test {

// What outlives a registry.
struct MemoryData {
  static void take_time() { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }

  MemoryBlobStore blobs{std::function<void()>(take_time)};
  std::shared_ptr<MemoryMetadataStore::Data> metadata = MemoryMetadataStore::new_data();
};

// Serves on a free port of the loopback while it lives. Several may share their data, as processes
// do.
class DoubledRegistry {
 public:
  // The data and the clock must outlive it.
  DoubledRegistry(const registry::Config& config, MemoryData& data, const Clock& clock)
      : config_(config),
        metadata_(data.metadata, clock, MemoryData::take_time),
        uploads_(data.blobs, metadata_, clock, config.upload_lifetime),
        services_(config_, data.blobs, metadata_, uploads_, nullptr, clock, readers_, writers_),
        server_(net::Server::listen({}, api_).value()) {}

  uint16_t port() const { return server_->port(); }

 private:
  const registry::Config config_;
  MemoryMetadataStore metadata_;
  registry::Uploads uploads_;
  WorkerPool readers_{4};
  WorkerPool writers_{4};
  registry::Services services_;
  registry::Api api_{services_};
  const std::unique_ptr<net::Server> server_;
};

}  // namespace runnel::test
