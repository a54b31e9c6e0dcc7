#include "node/image_store.h"

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"
#include "base/mapped_file.h"
#include "oci/document.h"

namespace runnel::node {

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::string_view kPartSuffix = ".part";
constexpr uint64_t kMaxRecord = 1 << 20;

std::string to_record(const StreamedImage& image) {
  json::array chain_ids;
  for (const auto& id : image.chain_ids) chain_ids.emplace_back(id.to_string());
  json::array layer_sizes;
  for (const uint64_t size : image.layer_sizes) layer_sizes.emplace_back(size);
  return json::serialize(json::object{{"version", 1},
                                      {"host", image.host},
                                      {"repository", image.repository},
                                      {"subject", image.subject.to_string()},
                                      {"chain_ids", std::move(chain_ids)},
                                      {"layer_sizes", std::move(layer_sizes)}});
}

Result<std::string> text_member(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) {
    return fail(Code::kInvalid, "image.json: \"{}\" is no text", name);
  }
  return std::string(value->get_string());
}

Result<void> read_layer_sizes(const json::object& object, StreamedImage& image) {
  const auto* sizes = object.if_contains("layer_sizes");
  if (sizes == nullptr) return {};
  if (!sizes->is_array()) return fail(Code::kInvalid, "image.json: \"layer_sizes\" is no list");
  for (const auto& size : sizes->get_array()) {
    boost::system::error_code error;
    image.layer_sizes.push_back(size.to_number<uint64_t>(error));
    if (error) return fail(Code::kInvalid, "image.json: a layer's size is no number");
  }
  return {};
}

Result<void> read_record(Bytes bytes, StreamedImage& image) {
  boost::system::error_code error;
  const auto parsed = json::parse(std::string(as_text(bytes)), error);
  if (error || !parsed.is_object()) return fail(Code::kInvalid, "image.json is no JSON object");
  const auto& object = parsed.get_object();
  RUNNEL_TRY(image.host, text_member(object, "host"));
  RUNNEL_TRY(image.repository, text_member(object, "repository"));
  RUNNEL_TRY(const auto subject, text_member(object, "subject"));
  RUNNEL_TRY(image.subject, oci::Digest::parse(subject));
  const auto* chain_ids = object.if_contains("chain_ids");
  if (chain_ids == nullptr || !chain_ids->is_array()) {
    return fail(Code::kInvalid, "image.json: \"chain_ids\" is no list");
  }
  for (const auto& id : chain_ids->get_array()) {
    if (!id.is_string()) return fail(Code::kInvalid, "image.json: a chain ID is no text");
    RUNNEL_TRY(auto digest, oci::Digest::parse(std::string(id.get_string())));
    image.chain_ids.push_back(std::move(digest));
  }
  return read_layer_sizes(object, image);
}

}  // namespace

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
    if (entry.path().string().ends_with(kPartSuffix)) fs::remove_all(entry.path(), error);
  }
  return ImageStore(directory);
}

Result<void> ImageStore::save(StreamedImage& image, Bytes artifact_manifest,
                              Bytes boot_bytes) const {
  const auto directory = fmt::format("{}/{}", directory_, image.subject.hex());
  const auto part = directory + std::string(kPartSuffix);
  std::error_code error;
  fs::remove_all(part, error);
  RUNNEL_DO(make_directories(part, 0700));
  RUNNEL_DO(create_file(part + "/image.json", as_bytes(to_record(image))));
  RUNNEL_DO(create_file(part + "/artifact.json", artifact_manifest));
  RUNNEL_DO(create_file(part + "/boot", boot_bytes.first(image.boot.hot_offset)));
  RUNNEL_DO(create_file(part + "/metadata.erofs", image.boot.head.image));
  RUNNEL_DO(sync_directory(part));
  fs::remove_all(directory, error);
  RUNNEL_DO(durable_rename(part, directory));
  image.directory = directory;
  // From now on the tables are the file's pages, and no memory of this process.
  RUNNEL_TRY(const auto boot, MappedFile::open(directory + "/boot", artifact::kMaxHeadSize * 2));
  uint64_t offset = image.artifact.head_size;
  for (const size_t i : artifact::records_with_tables(image.boot.head.layers)) {
    auto& table = image.boot.tables[image.boot.head.layers[i].slot - 1];
    const uint64_t size = table.bytes().size();
    if (offset + size > boot->bytes().size()) {
      return fail(Code::kUnavailable, "{}/boot is shorter than what was written", directory);
    }
    RUNNEL_TRY(table, artifact::ChunkTable::parse(boot->bytes().subspan(offset, size), boot,
                                                  table.digest()));
    offset += size;
  }
  return {};
}

Result<ImageStore::Loaded> ImageStore::load_all() const {
  Loaded loaded;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    const auto path = entry.path().string();
    auto image = load(path);
    if (image) {
      loaded.images.push_back(*std::move(image));
    } else {
      loaded.damaged.push_back(fmt::format("{}: {}", path, image.error().message));
    }
  }
  if (error) return fail(Code::kUnavailable, "read {}: {}", directory_, error.message());
  return loaded;
}

Result<StreamedImage> ImageStore::load(const std::string& directory) const {
  StreamedImage image;
  image.directory = directory;
  RUNNEL_TRY(const auto record, read_file(directory + "/image.json", kMaxRecord));
  RUNNEL_DO(read_record(record, image));
  RUNNEL_TRY(const auto manifest_bytes,
             read_file(directory + "/artifact.json", oci::kMaxDocumentBytes));
  RUNNEL_TRY(const auto manifest, oci::parse_manifest(manifest_bytes));
  RUNNEL_TRY(image.artifact, artifact::parse_artifact(manifest));
  RUNNEL_TRY(const auto boot, MappedFile::open(directory + "/boot", artifact::kMaxHeadSize * 2));
  RUNNEL_TRY(image.boot, artifact::open_boot(image.artifact, boot->bytes(), boot));
  if (image.chain_ids.size() != image.artifact.layers.size()) {
    return fail(Code::kInvalid, "{} chain IDs for {} layers", image.chain_ids.size(),
                image.artifact.layers.size());
  }
  if (!image.layer_sizes.empty() && image.layer_sizes.size() != image.chain_ids.size()) {
    return fail(Code::kInvalid, "{} sizes for {} layers", image.layer_sizes.size(),
                image.chain_ids.size());
  }
  RUNNEL_TRY(const auto metadata, MappedFile::open(image.metadata_path(), artifact::kMaxImageSize));
  if (!std::ranges::equal(metadata->bytes(), image.boot.head.image)) {
    RUNNEL_DO(replace_file(image.metadata_path(), image.boot.head.image));
  }
  return image;
}

Result<void> ImageStore::remove(const StreamedImage& image) const {
  std::error_code error;
  fs::remove_all(image.directory, error);
  if (error) return fail(Code::kUnavailable, "remove {}: {}", image.directory, error.message());
  return sync_directory(directory_);
}

}  // namespace runnel::node
