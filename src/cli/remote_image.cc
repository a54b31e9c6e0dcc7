#include "cli/remote_image.h"

#include <algorithm>

#include "codec/sha256.h"
#include "codec/zstd.h"
#include "convert/find_artifact.h"
#include "oci/document.h"

namespace runnel::cli {

namespace {

Result<oci::Digest> image_manifest(const remote::Repository& repository,
                                   const std::string& target) {
  RUNNEL_TRY(const auto named, repository.manifest(target));
  RUNNEL_TRY(const auto document, oci::parse_document(named.bytes, named.media_type));
  if (const auto* index = std::get_if<oci::Index>(&document)) {
    return convert::platform_manifest(*index);
  }
  return named.digest;
}

}  // namespace

Result<RemoteImage> RemoteImage::open(const RegistryAccess& registries,
                                      const oci::Reference& reference) {
  auto repository = registries.repository(reference);
  RUNNEL_TRY(const auto subject, image_manifest(repository, reference.target()));
  auto found = convert::find_artifacts(repository, subject);
  if (!found && found.error().code == Code::kNotFound) {
    return fail(Code::kNotFound, "{}; make one with: runnel convert {}", found.error().message,
                reference.to_string());
  }
  if (!found) return std::unexpected(found.error());
  auto artifact = std::move(found->front().artifact);
  RUNNEL_TRY(const Buffer bytes, repository.blob_bytes(artifact.boot, artifact.boot_size));
  RUNNEL_TRY(auto boot, artifact::open_boot(artifact, bytes));
  return RemoteImage(std::move(repository), std::move(artifact), std::move(boot));
}

Result<Buffer> RemoteImage::read_chunk(uint16_t device, uint32_t chunk) const {
  const auto at = boot_.tables[device - 1].at(chunk);
  const auto digest = oci::Digest::from_sha256(boot_.record_of(device).blob_digest);
  RUNNEL_TRY(const Buffer frame, repository_.blob_range(digest, at.blob_offset, at.stored_size));
  Buffer plain(at.size());
  RUNNEL_DO(codec::ZstdDecompressor().decompress(frame, plain));
  if (codec::sha256(plain) != at.digest) {
    return fail(Code::kInvalid, "chunk {} of layer blob {} does not match its digest", chunk,
                digest);
  }
  return plain;
}

Result<void> RemoteImage::read_file(const erofs::Reader& reader, const erofs::Node& file,
                                    const std::function<Result<void>(Bytes)>& sink) const {
  const uint64_t size = file.disk.size;
  uint64_t position = 0;
  const auto zeros_until = [&](uint64_t end) -> Result<void> {
    static const Buffer kZeros(artifact::kChunkSize);
    while (position < end) {
      const auto part = Bytes(kZeros).first(std::min<uint64_t>(kZeros.size(), end - position));
      RUNNEL_DO(sink(part));
      position += part.size();
    }
    return {};
  };
  RUNNEL_TRY(const auto extents, reader.extents(file));
  for (const auto& extent : extents) {
    RUNNEL_DO(zeros_until(extent.file_block * artifact::kBlockSize));
    const auto& table = boot_.tables[extent.device - 1];
    uint64_t block = extent.device_block;
    const uint64_t end_block = block + extent.blocks;
    while (block < end_block && position < size) {
      const uint32_t chunk = table.find(block);
      RUNNEL_TRY(const Buffer plain, read_chunk(extent.device, chunk));
      const auto at = table.at(chunk);
      const uint64_t from = (block - at.device_block) * artifact::kBlockSize;
      const uint64_t blocks = std::min<uint64_t>(at.device_block + at.blocks, end_block) - block;
      const uint64_t bytes = std::min(blocks * artifact::kBlockSize, size - position);
      RUNNEL_DO(sink(Bytes(plain).subspan(from, bytes)));
      position += bytes;
      block += blocks;
    }
  }
  return zeros_until(size);
}

}  // namespace runnel::cli
