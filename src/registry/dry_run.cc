#include "registry/dry_run.h"

#include <stdlib.h>

#include <filesystem>
#include <set>

namespace runnel::registry {

namespace {

class UntouchedBlobs final : public blob::BlobStore {
 public:
  explicit UntouchedBlobs(blob::BlobStore& store) : store_(store) {}

  Result<std::optional<uint64_t>> size(const oci::Digest& digest) override {
    if (gone_.contains(digest)) return std::nullopt;
    return store_.size(digest);
  }
  Result<std::optional<blob::StoredBlob>> find(const oci::Digest& digest) override {
    if (gone_.contains(digest)) return std::nullopt;
    return store_.find(digest);
  }
  Result<std::optional<blob::Content>> open(const oci::Digest& digest) override {
    return store_.open(digest);
  }
  Result<bool> remove(const oci::Digest& digest) override {
    RUNNEL_TRY(const auto there, find(digest));
    return there && gone_.insert(digest).second;
  }
  Result<std::vector<blob::StoredBlob>> list(const oci::Digest& after, size_t limit) override {
    return store_.list(after, limit);
  }
  Result<std::unique_ptr<blob::UploadWriter>> open_upload(const std::string&, uint64_t) override {
    return refused();
  }
  Result<bool> discard_upload(const std::string&) override { return refused(); }
  Result<std::vector<std::string>> uploads() override { return store_.uploads(); }

  std::vector<oci::Digest> gone() const { return {gone_.begin(), gone_.end()}; }

 private:
  static std::unexpected<Error> refused() {
    return fail(Code::kUnsupported, "a dry run changes nothing");
  }

  blob::BlobStore& store_;
  std::set<oci::Digest> gone_;
};

// Gone with this.
class TemporaryDirectory {
 public:
  static Result<std::unique_ptr<TemporaryDirectory>> make() {
    std::error_code failed;
    auto path = std::filesystem::temp_directory_path(failed) / "runnel-dry-run-XXXXXX";
    std::string text = path.string();
    if (failed || ::mkdtemp(text.data()) == nullptr) return fail_errno("make {}", text);
    return std::unique_ptr<TemporaryDirectory>(new TemporaryDirectory(std::move(text)));
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

}  // namespace

Result<WouldCollect> collect_dry(blob::BlobStore& blobs, meta::SqliteStore& metadata,
                                 const Clock& clock, Duration lifetime, Duration undo_time) {
  RUNNEL_TRY(const auto directory, TemporaryDirectory::make());
  const auto path = directory->path() + "/metadata.sqlite";
  RUNNEL_DO(metadata.copy_to(path));
  RUNNEL_TRY(const auto copy, meta::SqliteStore::open(path, clock));
  UntouchedBlobs untouched(blobs);
  Collector collector(untouched, *copy, clock, lifetime, undo_time);
  WouldCollect result;
  RUNNEL_TRY(result.collected, collector.collect());
  result.blobs = untouched.gone();
  return result;
}

}  // namespace runnel::registry
