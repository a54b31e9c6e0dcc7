// What a registry and its worker process (worker_process.h) say to each other over their socket.
//
// Messages are framed: u32 size, then so many bytes, at most kMaxJob to the worker and kMaxMessage
// from it; integers little-endian.
//
//   job       u8 kind (1 layer, 2 boot), limits (5 × u64), u32 threads, then
//             layer: text diff_id, u64 source size
//             boot:  u64 generation, text profile, process (texts arguments, texts environment,
//                    text directory), layers, text earlier profile, earlier layers, text shared
//                    profile; layers are
//                    u32 count, for each: text digest, u64 size, u32 which descriptor
//   progress  u8 1, u64 bytes of the source that are done
//   layer     u8 2, u64 size, u64 plain bytes
//   boot      u8 3, text digest, u64 size, text head digest, u64 head size, text hot
//   failed    u8 4, u8 code, text message
//
// A text is u32 size and so many bytes; texts are u32 count and so many of them. The worker parses
// what the registry wrote, and the registry believes nothing that the worker says further than the
// bytes that it wrote: a layer's blob comes through a pipe, and the registry hashes what it takes
// out of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "artifact/profile.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "oci/digest.h"
#include "oci/image_config.h"

namespace runnel::convert {

inline constexpr size_t kMaxMessage = 4 << 20;
// Three profiles as large as there are, and the rest.
inline constexpr size_t kMaxJob = 3 * artifact::kMaxProfileBytes + kMaxMessage;
// Of a failure's message, which is kept, shown and logged.
inline constexpr size_t kMaxFailureText = 2000;

// What one job may cost. A job that needs more fails with kExhausted.
struct WorkerLimits {
  uint64_t memory_bytes = uint64_t{1} << 30;  // of address space
  uint64_t cpu_seconds = 3600;
  // Of a layer: its tar; how many times its blob's size that may be, once it has kFreeInflation
  // bytes; its entries.
  uint64_t max_plain_bytes = uint64_t{64} << 30;
  uint64_t max_ratio = 200;
  uint64_t max_entries = 4'000'000;

  bool operator==(const WorkerLimits&) const = default;
};

// A layer of zeros deflates a thousandfold: below this nobody minds.
inline constexpr uint64_t kFreeInflation = uint64_t{256} << 20;

struct LayerJob {
  oci::Digest diff_id;
  uint64_t source_size = 0;

  bool operator==(const LayerJob&) const = default;
};

// Of the image's layers, lowest first: a converted blob, and which of the layers' descriptors has
// it. A layer that the image has twice is here twice.
struct BootLayer {
  oci::Digest blob;
  uint64_t size = 0;
  uint32_t descriptor = 0;

  bool operator==(const BootLayer&) const = default;
};

struct BootJob {
  uint64_t generation = 1;
  std::string profile;  // JSON (artifact/profile.h); "": none
  oci::Process process;
  std::vector<BootLayer> layers;
  // An earlier version of the image and what its starts read, JSON as well; for where `profile`
  // fits nothing. "": none.
  std::string earlier_profile;
  std::vector<BootLayer> earlier_layers;
  // What starts of other images read of this image's layers; for where that fits nothing, too.
  std::string shared_profile;

  bool operator==(const BootJob&) const = default;
};

struct WorkerJob {
  std::variant<LayerJob, BootJob> what;
  WorkerLimits limits;
  uint32_t threads = 2;

  bool operator==(const WorkerJob&) const = default;
};

struct WorkerProgress {
  uint64_t done = 0;
  bool operator==(const WorkerProgress&) const = default;
};

struct LayerDone {
  uint64_t size = 0;  // of the blob
  uint64_t plain_bytes = 0;
  bool operator==(const LayerDone&) const = default;
};

struct BootDone {
  oci::Digest boot;
  uint64_t size = 0;
  oci::Digest head;
  uint64_t head_size = 0;
  std::string hot;  // what the hot pack was made of, of artifact::kHotAnnotation's words; or empty
  bool operator==(const BootDone&) const = default;
};

using WorkerMessage = std::variant<WorkerProgress, LayerDone, BootDone, Error>;

Buffer serialize(const WorkerJob& job);
Result<WorkerJob> parse_worker_job(Bytes bytes);
Buffer serialize(const WorkerMessage& message);
// A failure's message is cut at kMaxFailureText, and has a '?' for each control character and each
// byte that is no UTF-8. kInvalid for what no worker of ours says.
Result<WorkerMessage> parse_worker_message(Bytes bytes);

// A message with its size before it.
Buffer framed(Bytes message);
// One framed message; kUnavailable when the other end is gone, kInvalid when it is larger than
// `limit`, of which nothing is sent or read then, or when the other end does not take or give all
// of it `within` so long, for which who does not trust it asks.
Result<void> send_message(int socket, Bytes message, size_t limit = kMaxMessage,
                          std::optional<Duration> within = {});
Result<Buffer> receive_message(int socket, size_t limit = kMaxMessage,
                               std::optional<Duration> within = {});

}  // namespace runnel::convert
