#include "convert/worker_main.h"

#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <new>
#include <optional>

#include "artifact/chunk_table.h"
#include "artifact/layer_blob.h"
#include "base/fd.h"
#include "base/worker_pool.h"
#include "codec/sha256.h"
#include "convert/boot_builder.h"
#include "convert/layer_converter.h"
#include "convert/worker_job.h"
#include "convert/worker_sandbox.h"

namespace runnel::convert {

namespace {

constexpr size_t kReadSize = 256 << 10;
constexpr uint64_t kProgressEvery = 4 << 20;

// Address space that runs out is an answer, too. Made beforehand: to say so must not allocate.
Buffer& out_of_memory_frame() {
  static Buffer frame =
      framed(serialize(WorkerMessage(Error(Code::kExhausted,
                                           "it needs more memory than a worker may have "
                                           "([conversion] worker_memory_mib)"))));
  return frame;
}

void out_of_memory() {
  const auto& frame = out_of_memory_frame();
  ::send(kWorkerSocket, frame.data(), frame.size(), MSG_NOSIGNAL);
  ::_exit(1);
}

// To whoever started the worker, who hashes: what a worker says of its bytes counts for nothing.
class PipeSink final : public artifact::BlobSink {
 public:
  Result<void> append(Bytes bytes) override { return write_all(kWorkerOutput, bytes); }
  codec::Sha256Value digest() override { return {}; }
};

uint64_t max_plain(const WorkerLimits& limits, uint64_t source_size) {
  const auto by_ratio =
      source_size > limits.max_plain_bytes / std::max<uint64_t>(limits.max_ratio, 1)
          ? limits.max_plain_bytes
          : source_size * limits.max_ratio;
  return std::min(limits.max_plain_bytes, std::max(by_ratio, kFreeInflation));
}

Result<WorkerMessage> run(const LayerJob& job, const WorkerLimits& limits, WorkerPool& pool) {
  LayerConverter converter(
      std::make_unique<PipeSink>(), pool, job.diff_id,
      {.max_plain_bytes = max_plain(limits, job.source_size), .max_entries = limits.max_entries});
  Buffer piece(kReadSize);
  uint64_t reported = 0;
  for (uint64_t done = 0; done < job.source_size;) {
    RUNNEL_TRY(const auto count, read_up_to_at(kWorkerInputs, piece, done));
    if (count == 0) return fail(Code::kInvalid, "the layer's file ends at byte {}", done);
    RUNNEL_DO(converter.feed(Bytes(piece).first(count)));
    done += count;
    if (done - reported < kProgressEvery) continue;
    reported = done;
    RUNNEL_DO(send_message(kWorkerSocket, serialize(WorkerMessage(WorkerProgress{done}))));
  }
  RUNNEL_TRY(const auto converted, converter.finish());
  return LayerDone{.size = converted.blob.size, .plain_bytes = converted.plain_bytes};
}

// A converted layer, as its blob says of itself.
struct OpenedLayer {
  LayerFile file;
  artifact::LayerTree tree;
};

Result<Buffer> read_part(int fd, uint64_t offset, uint64_t size) {
  Buffer bytes(size);
  RUNNEL_DO(read_exact_at(fd, bytes, offset));
  return bytes;
}

Result<OpenedLayer> open_layer(const BootLayer& layer,
                               const std::shared_ptr<const UniqueFd>& file) {
  const int fd = file->get();
  if (layer.size < artifact::kLayerFooterSize)
    return fail(Code::kInvalid, "a layer blob of {} bytes", layer.size);
  RUNNEL_TRY(const auto footer,
             read_part(fd, layer.size - artifact::kLayerFooterSize, artifact::kLayerFooterSize));
  RUNNEL_TRY(const auto parts, artifact::parse_layer_footer(footer, layer.size));
  RUNNEL_TRY(auto table_bytes, read_part(fd, parts.table_offset, parts.table_size));
  RUNNEL_TRY(const auto table,
             artifact::ChunkTable::parse(std::move(table_bytes), parts.table_digest));
  RUNNEL_TRY(const auto frame, read_part(fd, parts.tree_offset, parts.tree_stored));
  OpenedLayer opened;
  RUNNEL_TRY(opened.tree, artifact::open_layer_tree(frame, parts, table.device_blocks()));
  opened.file.file = file;
  RUNNEL_TRY(opened.file.blob.digest, layer.blob.sha256_value());
  opened.file.blob.size = layer.size;
  opened.file.blob.device_blocks = table.device_blocks();
  opened.file.blob.parts = parts;
  return opened;
}

// The layers of an image, in the files that they stand in.
struct OpenedImage {
  std::vector<std::unique_ptr<LayerFile>> files;
  std::vector<const LayerFile*> layers;
  std::vector<artifact::LayerTree> trees;
};

using Inputs = std::vector<std::shared_ptr<const UniqueFd>>;

Result<OpenedImage> open_image(const std::vector<BootLayer>& layers, const Inputs& inputs) {
  OpenedImage image;
  uint64_t names = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    auto opened = open_layer(layers[i], inputs.at(layers[i].descriptor));
    if (!opened) return std::unexpected(opened.error().in(fmt::format("layer {}", i + 1)));
    names += opened->tree.inodes.size();
    if (names > artifact::TreeLimits{}.max_inodes)
      return fail(Code::kExhausted, "its layers have {} files, at most {} can be merged", names,
                  artifact::TreeLimits{}.max_inodes);
    image.files.push_back(std::make_unique<LayerFile>(opened->file));
    image.layers.push_back(image.files.back().get());
    image.trees.push_back(std::move(opened->tree));
  }
  return image;
}

Result<std::vector<HotRange>> earlier_ranges(const BootJob& job, const Inputs& inputs) {
  if (job.earlier_profile.empty()) return std::vector<HotRange>();
  RUNNEL_TRY(const auto profile, artifact::parse_profile(as_bytes(job.earlier_profile)));
  RUNNEL_TRY(auto image, open_image(job.earlier_layers, inputs));
  return hot_ranges(image.layers, std::move(image.trees), profile);
}

size_t inputs_of(const BootJob& job) {
  uint32_t last = 0;
  for (const auto* layers : {&job.layers, &job.earlier_layers})
    for (const auto& layer : *layers) last = std::max(last, layer.descriptor + 1);
  return last;
}

Result<WorkerMessage> run(const BootJob& job, const WorkerLimits&, WorkerPool&) {
  BootPlan plan{.generation = job.generation,
                .files = {},
                .profile = {},
                .earlier = {},
                .shared = {},
                .process = job.process};
  if (!job.profile.empty()) {
    RUNNEL_TRY(plan.profile, artifact::parse_profile(as_bytes(job.profile)));
  }
  if (!job.shared_profile.empty()) {
    RUNNEL_TRY(plan.shared, artifact::parse_profile(as_bytes(job.shared_profile)));
  }
  Inputs inputs;
  for (size_t i = 0; i < inputs_of(job); ++i)
    inputs.push_back(std::make_shared<const UniqueFd>(kWorkerInputs + static_cast<int>(i)));
  // What is wrong with another image is no reason not to convert this one.
  if (auto earlier = earlier_ranges(job, inputs)) plan.earlier = *std::move(earlier);
  RUNNEL_TRY(auto image, open_image(job.layers, inputs));
  RUNNEL_TRY(const auto boot, build_boot_blob(image.layers, std::move(image.trees), plan));
  RUNNEL_DO(write_all_at(kWorkerOutput, boot.bytes, 0));
  return BootDone{.boot = oci::Digest::of(boot.bytes),
                  .size = boot.bytes.size(),
                  .head = oci::Digest::of(Bytes(boot.bytes).first(boot.head_size)),
                  .head_size = boot.head_size,
                  .hot = std::string(boot.hot)};
}

size_t inputs_of(const WorkerJob& job) {
  const auto* boot = std::get_if<BootJob>(&job.what);
  return boot == nullptr ? 1 : inputs_of(*boot);
}

Result<WorkerMessage> work() {
  RUNNEL_TRY(const auto bytes, receive_message(kWorkerSocket, kMaxJob));
  RUNNEL_TRY(const auto job, parse_worker_job(bytes));
  RUNNEL_DO(detach(kWorkerInputs + static_cast<int>(inputs_of(job))));
  // One heap for all threads: others reserve 64 MiB each, and glibc reads a file of /proc before it
  // gives memory of them back.
  ::mallopt(M_ARENA_MAX, 1);
  // Never destroyed: threads end with the process.
  auto& pool = *new WorkerPool(job.threads, WorkerPool::Work::kBulk);
  // OpenSSL reads its configuration when it is used first.
  codec::sha256(as_bytes("warm"));
  oci::Digest::of(as_bytes("warm"), oci::Algorithm::kSha512);
  out_of_memory_frame();
  std::set_new_handler(out_of_memory);
  RUNNEL_DO(limit_resources(job.limits.memory_bytes, job.limits.cpu_seconds));
  RUNNEL_DO(confine());
  return std::visit([&](const auto& what) { return run(what, job.limits, pool); }, job.what);
}

}  // namespace

int run_worker() {
  const auto outcome = work();
  const auto sent =
      send_message(kWorkerSocket, serialize(outcome ? *outcome : WorkerMessage(outcome.error())));
  // Without destructors: threads of the pool are still there.
  ::_exit(outcome && sent ? 0 : 1);
}

}  // namespace runnel::convert
