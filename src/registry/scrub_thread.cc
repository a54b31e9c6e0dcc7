#include "registry/scrub_thread.h"

#include <condition_variable>
#include <mutex>
#include <random>

#include "base/log.h"
#include "registry/scrub.h"

namespace runnel::registry {

namespace {

// A registry that just started has other things to do, and blobs do not go bad by the hour.
constexpr auto kFirst = std::chrono::minutes(10);
constexpr auto kBetween = std::chrono::hours(24);

// Any place to begin at.
oci::Digest random_digest() {
  std::random_device random;
  const uint64_t bits = (uint64_t{random()} << 32) | random();
  return oci::Digest::of(as_bytes(std::to_string(bits)));
}

void run(blob::DirectoryStore& blobs, meta::SqliteStore& metadata, uint64_t bytes_per_second,
         const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  const auto rest = [&](Duration time) {
    std::unique_lock lock(mutex);
    wake.wait_for(lock, stop, time, [] { return false; });
    return !stop.stop_requested();
  };
  Scrubber scrubber(blobs, metadata, bytes_per_second, rest);
  for (bool goes_on = rest(kFirst); goes_on; goes_on = rest(kBetween)) {
    const auto scrubbed = scrubber.scrub(random_digest());
    if (!scrubbed)
      log::warning("scrub: {}", scrubbed.error().message);
    else
      log::info("scrub: read {} blobs, {} bytes; {} were damaged", scrubbed->blobs, scrubbed->bytes,
                scrubbed->damaged.size());
  }
}

}  // namespace

ScrubThread::ScrubThread(blob::DirectoryStore& blobs, meta::SqliteStore& metadata,
                         uint64_t bytes_per_second)
    : thread_([&blobs, &metadata, bytes_per_second](const std::stop_token& stop) {
        run(blobs, metadata, bytes_per_second, stop);
      }) {}

}  // namespace runnel::registry
