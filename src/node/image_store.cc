#include "node/image_store.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/durable.h"
#include "base/fd.h"
#include "base/mapped_file.h"
#include "base/worker_pool.h"
#include "cache/fault.h"
#include "codec/sha256.h"
#include "oci/document.h"

namespace runnel::node {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPartSuffix = ".part";
constexpr std::string_view kManifest = "/artifact.json";
constexpr std::string_view kBoot = "/boot";
constexpr uint64_t kMaxRecord = 1 << 20;
constexpr uint64_t kPiece = 256 << 10;
// Metadata is read, hashed and looked through; what has mounts waits meanwhile.
constexpr unsigned kMostLoaders = 8;

// The metadata of a head that stands in `bytes`, as it is mounted.
Fill unpacked(const artifact::BootHead& head, Bytes bytes) {
  return [stored = head.stored, bytes](const auto& put) {
    return artifact::unpack_image(stored, bytes, put);
  };
}

// Whether the file holds it already.
Result<bool> is_unpacked(const artifact::BootHead& head, const std::string& path) {
  RUNNEL_TRY(const auto fd, open_file(path, O_RDONLY));
  RUNNEL_TRY(const uint64_t size, file_size(fd.get()));
  if (size != head.stored.size) return false;
  Buffer piece(std::min<uint64_t>(size, kPiece));
  codec::Sha256 sum;
  for (uint64_t at = 0; at < size; at += piece.size()) {
    const auto part = MutableBytes(piece).first(std::min<uint64_t>(piece.size(), size - at));
    RUNNEL_DO(read_exact_at(fd.get(), part, at));
    sum.update(part);
  }
  return sum.finish() == head.stored.digest;
}

// The record first: what is left when this is cut short is nothing.
std::error_code remove_directory(const StreamedImage& image) {
  std::error_code error;
  fs::remove(image.record_path(), error);
  fs::remove_all(image.directory, error);
  return error;
}

// Whether the kernel may mount it. Of a large one few pages at a time are memory of this process.
Result<void> check_metadata(const artifact::Boot& boot, const std::string& path) {
  RUNNEL_TRY(const auto file, MappedFile::open(path, artifact::kMaxImageSize));
  return artifact::check_image(boot, file->bytes(), [&file] { file->let_go(); });
}

}  // namespace

std::string mount_name(const StreamedImage& image, size_t layers) {
  return fmt::format("{}-{}", image.subject.hex(), layers);
}

std::vector<oci::Digest> device_digests(const artifact::Boot& boot, size_t layers) {
  std::vector<oci::Digest> digests;
  for (const size_t i : artifact::records_with_tables(std::span(boot.head.layers).first(layers))) {
    digests.push_back(oci::Digest::from_sha256(boot.head.layers[i].blob_digest));
  }
  return digests;
}

Result<ImageStore> ImageStore::open(const std::string& root) {
  const auto directory = root + "/images";
  RUNNEL_DO(make_directories(directory, 0700));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    // Earlier versions wrote to another name first.
    const bool unfinished =
        entry.path().string().ends_with(kPartSuffix) ||
        fs::status(entry.path() / "image.json", error).type() == fs::file_type::not_found;
    if (unfinished) fs::remove_all(entry.path(), error);
  }
  return ImageStore(directory);
}

Result<void> ImageStore::write(StreamedImage& image, Bytes artifact_manifest, Bytes head,
                               Bytes tables) const {
  image.directory = fmt::format("{}/{}", directory_, image.subject.hex());
  if (const auto error = remove_directory(image); error)
    return fail(Code::kUnavailable, "{}: cannot be removed: {}", image.directory, error.message());
  if (auto written = write_files(image, artifact_manifest, head, tables); !written) {
    (void)remove_directory(image);  // what failed first is what to say
    return written;
  }
  // From now on the tables are the file's pages, and no memory of this process.
  const auto path = image.directory + std::string(kBoot);
  RUNNEL_TRY(const auto boot,
             MappedFile::open(path, artifact::kMaxHeadSize + artifact::kMaxTablesSize));
  uint64_t offset = image.artifact.head_size;
  for (const size_t i : artifact::records_with_tables(image.boot.head.layers)) {
    auto& table = image.boot.tables[image.boot.head.layers[i].slot - 1];
    const uint64_t size = table.bytes().size();
    if (offset + size > boot->bytes().size())
      return fail(Code::kUnavailable, "{} is shorter than what was written", path);
    RUNNEL_TRY(table, artifact::ChunkTable::parse(boot->bytes().subspan(offset, size), boot,
                                                  table.digest()));
    offset += size;
  }
  boot->let_go();
  return {};
}

Result<void> ImageStore::write_files(const StreamedImage& image, Bytes artifact_manifest,
                                     Bytes head, Bytes tables) {
  const auto& directory = image.directory;
  constexpr auto kNotYet = Survives::kProcessDeath;
  RUNNEL_DO(make_directories(directory, 0700, kNotYet));
  RUNNEL_DO(create_file(image.record_path() + std::string(kPartSuffix), as_bytes(to_json(image)),
                        0644, kNotYet));
  RUNNEL_DO(create_file(directory + std::string(kManifest), artifact_manifest, 0644, kNotYet));
  RUNNEL_DO(create_file_by(
      directory + std::string(kBoot),
      [head, tables](const auto& put) -> Result<void> {
        RUNNEL_DO(put(head));
        return put(tables);
      },
      0644, kNotYet));
  RUNNEL_DO(create_file_by(image.metadata_path(), unpacked(image.boot.head, head), 0644, kNotYet));
  return check_metadata(image.boot, image.metadata_path());
}

// All were written before the first is synced, so that one commit of the file system has them all.
Result<void> ImageStore::keep(const StreamedImage& image) const {
  const auto part = image.record_path() + std::string(kPartSuffix);
  if (const int injected = cache::fault("keep-image"))
    return std::unexpected(system_error(injected, "fsync " + image.directory + " (injected)"));
  RUNNEL_DO(sync_file(image.metadata_path()));
  RUNNEL_DO(sync_file(image.directory + std::string(kBoot)));
  RUNNEL_DO(sync_file(image.directory + std::string(kManifest)));
  RUNNEL_DO(sync_file(part));
  RUNNEL_DO(durable_rename(part, image.record_path()));
  return sync_directory(directory_);
}

Result<ImageStore::Loaded> ImageStore::load_all() const {
  std::vector<fs::path> directories;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    directories.push_back(entry.path());
  }
  if (error) return fail(Code::kUnavailable, "read {}: {}", directory_, error.message());
  std::vector<std::optional<Result<StreamedImage>>> images(directories.size());
  {
    WorkerPool pool(std::clamp(std::thread::hardware_concurrency(), 1u, kMostLoaders));
    for (size_t i = 0; i < directories.size(); ++i)
      pool.submit([&, i] { images[i] = load(directories[i].string()); });
  }
  Loaded loaded;
  for (size_t i = 0; i < directories.size(); ++i) {
    auto& image = *images[i];
    if (image) {
      loaded.images.push_back(*std::move(image));
      continue;
    }
    loaded.damaged.push_back(fmt::format("{}: {}", directories[i].string(), image.error().message));
    loaded.damaged_subjects.insert(directories[i].filename().string());
  }
  return loaded;
}

Result<StreamedImage> ImageStore::load(const std::string& directory) const {
  StreamedImage image;
  image.directory = directory;
  RUNNEL_TRY(const auto record, read_file(image.record_path(), kMaxRecord));
  RUNNEL_TRY(static_cast<ImageRecord&>(image), parse_image_record(record));
  RUNNEL_TRY(const auto manifest_bytes,
             read_file(directory + std::string(kManifest), oci::kMaxDocumentBytes));
  RUNNEL_TRY(const auto manifest, oci::parse_manifest(manifest_bytes));
  RUNNEL_TRY(image.artifact, artifact::parse_artifact(manifest));
  if (image.artifact.subject.digest != image.subject)
    return fail(Code::kInvalid, "image.json is of {}, artifact.json of {}", image.subject,
                image.artifact.subject.digest);
  RUNNEL_TRY(const auto boot, MappedFile::open(directory + std::string(kBoot),
                                               artifact::kMaxHeadSize + artifact::kMaxTablesSize));
  if (boot->bytes().size() < image.artifact.head_size)
    return fail(Code::kInvalid, "{}/boot is shorter than its head", directory);
  const Bytes head_bytes = boot->bytes().first(image.artifact.head_size);
  RUNNEL_TRY(auto head, artifact::open_head(image.artifact, head_bytes));
  RUNNEL_TRY(image.boot, artifact::open_tables(image.artifact, std::move(head),
                                               boot->bytes().subspan(head_bytes.size()), boot));
  if (image.chain_ids.size() != image.artifact.layers.size()) {
    return fail(Code::kInvalid, "{} chain IDs for {} layers", image.chain_ids.size(),
                image.artifact.layers.size());
  }
  RUNNEL_TRY(const bool right, is_unpacked(image.boot.head, image.metadata_path()));
  if (!right)
    RUNNEL_DO(replace_file_by(image.metadata_path(), unpacked(image.boot.head, head_bytes)));
  RUNNEL_DO(check_metadata(image.boot, image.metadata_path()));
  boot->let_go();
  return image;
}

Result<void> ImageStore::remove(const StreamedImage& image) const {
  if (const auto error = remove_directory(image); error)
    return fail(Code::kUnavailable, "remove {}: {}", image.directory, error.message());
  return sync_directory(directory_);
}

}  // namespace runnel::node
