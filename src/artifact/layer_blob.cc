#include "artifact/layer_blob.h"

#include "base/fd.h"

namespace runnel::artifact {

namespace {

constexpr std::string_view kMagic = "RNLLAYER";

Buffer write_footer(const LayerParts& parts) {
  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.u32(kLayerVersion);
  out.u32(kLayerFooterSize);
  out.u64(0);
  out.u64(0);
  write_parts(out, parts);
  out.zeros(kLayerFooterSize - out.size());
  return out.take();
}

class FileSink final : public BlobSink {
 public:
  explicit FileSink(int fd) : fd_(fd) {}

  Result<void> append(Bytes bytes) override {
    RUNNEL_DO(write_all_at(fd_, bytes, size_));
    hash_.update(bytes);
    size_ += bytes.size();
    return {};
  }
  codec::Sha256Value digest() override { return hash_.finish(); }

 private:
  const int fd_;
  codec::Sha256 hash_;
  uint64_t size_ = 0;
};

}  // namespace

Result<LayerParts> parse_layer_footer(Bytes footer, uint64_t blob_size) {
  ByteReader reader(footer, "layer blob footer");
  RUNNEL_TRY(const Bytes magic, reader.bytes(kMagic.size()));
  if (as_text(magic) != kMagic) return fail(Code::kInvalid, "layer blob: wrong magic");
  RUNNEL_TRY(const uint32_t version, reader.u32());
  RUNNEL_TRY(const uint32_t footer_size, reader.u32());
  RUNNEL_TRY(const uint64_t required_features, reader.u64());
  if (version != kLayerVersion || required_features != 0) {
    return fail(Code::kUnsupported,
                "layer blob: version {} with required features {:#x}; this program reads version "
                "{} without any",
                version, required_features, kLayerVersion);
  }
  if (footer_size != kLayerFooterSize) {
    return fail(Code::kInvalid, "layer blob: a footer of {} bytes", footer_size);
  }
  RUNNEL_DO(reader.u64());
  return read_parts(reader, blob_size);
}

Result<Buffer> unpack_layer_tree(Bytes frame, const LayerParts& parts) {
  if (parts.tree_size > TreeLimits{}.max_bytes) {
    return fail(Code::kExhausted, "layer tree: {} bytes, limit {}", parts.tree_size,
                TreeLimits{}.max_bytes);
  }
  Buffer plain(parts.tree_size);
  RUNNEL_DO(codec::ZstdDecompressor().decompress(frame, plain));
  if (codec::sha256(plain) != parts.tree_digest) {
    return fail(Code::kInvalid, "layer tree: its bytes do not match its digest");
  }
  return plain;
}

Result<LayerTree> open_layer_tree(Bytes frame, const LayerParts& parts, uint64_t device_blocks) {
  RUNNEL_TRY(const Buffer plain, unpack_layer_tree(frame, parts));
  return parse_layer_tree(plain, device_blocks);
}

LayerBlobWriter::LayerBlobWriter(int fd, WorkerPool& pool, size_t chunks_in_flight)
    : LayerBlobWriter(std::make_unique<FileSink>(fd), pool, chunks_in_flight) {}

LayerBlobWriter::LayerBlobWriter(std::unique_ptr<BlobSink> sink, WorkerPool& pool,
                                 size_t chunks_in_flight)
    : sink_(std::move(sink)), pool_(pool), in_flight_limit_(chunks_in_flight) {}

LayerBlobWriter::~LayerBlobWriter() {
  for (auto& job : in_flight_) job.wait();
}

Result<void> LayerBlobWriter::add_chunk(Buffer plain) {
  if (table_.size() + in_flight_.size() >= kMaxChunks) {
    return fail(Code::kExhausted, "the layer's files need more than {} chunks", kMaxChunks);
  }
  if (in_flight_.size() >= in_flight_limit_) RUNNEL_DO(write_oldest());
  auto promise = std::make_shared<std::promise<std::unique_ptr<Job>>>();
  in_flight_.push_back(promise->get_future());
  auto job = std::make_shared<std::unique_ptr<Job>>(std::make_unique<Job>());
  (*job)->plain = std::move(plain);
  pool_.submit([this, promise, job] {
    compress(**job);
    promise->set_value(std::move(*job));
  });
  return {};
}

void LayerBlobWriter::compress(Job& job) {
  std::unique_ptr<codec::ZstdCompressor> compressor;
  {
    const std::lock_guard lock(mutex_);
    if (!compressors_.empty()) {
      compressor = std::move(compressors_.back());
      compressors_.pop_back();
    }
  }
  if (!compressor) compressor = std::make_unique<codec::ZstdCompressor>(kZstdLevel);
  job.digest = codec::sha256(job.plain);
  job.frame = compressor->compress(job.plain);
  const std::lock_guard lock(mutex_);
  compressors_.push_back(std::move(compressor));
}

Result<void> LayerBlobWriter::write_oldest() {
  const auto job = in_flight_.front().get();
  in_flight_.pop_front();
  table_.add(static_cast<uint32_t>(job->plain.size() / kBlockSize),
             static_cast<uint32_t>(job->frame.size()), job->digest);
  return append(job->frame);
}

Result<void> LayerBlobWriter::append(Bytes bytes) {
  RUNNEL_DO(sink_->append(bytes));
  size_ += bytes.size();
  return {};
}

Result<LayerBlobWriter::Written> LayerBlobWriter::finish(const LayerTree& tree) {
  while (!in_flight_.empty()) RUNNEL_DO(write_oldest());

  const Buffer plain_tree = serialize(tree);
  const Buffer tree_frame = codec::ZstdCompressor(kZstdLevel).compress(plain_tree);
  const auto table = table_.finish();
  const LayerParts parts{.tree_offset = size_,
                         .tree_stored = tree_frame.size(),
                         .tree_size = plain_tree.size(),
                         .tree_digest = codec::sha256(plain_tree),
                         .table_offset = size_ + tree_frame.size(),
                         .table_size = table.bytes.size(),
                         .table_digest = table.digest};
  RUNNEL_DO(append(tree_frame));
  RUNNEL_DO(append(table.bytes));
  RUNNEL_DO(append(write_footer(parts)));
  return Written{.digest = sink_->digest(),
                 .size = size_,
                 .device_blocks = table_.device_blocks(),
                 .parts = parts};
}

}  // namespace runnel::artifact
