// A registry's own thread that scrubs its blobs, over and over.
#pragma once

#include <thread>

#include "blob/directory_store.h"
#include "meta/sqlite_store.h"

namespace runnel::registry {

class ScrubThread {
 public:
  // The stores must outlive this. The pace is more than 0.
  ScrubThread(blob::DirectoryStore& blobs, meta::SqliteStore& metadata, uint64_t bytes_per_second);

 private:
  std::jthread thread_;  // asked to stop, and waited for, when this goes
};

}  // namespace runnel::registry
