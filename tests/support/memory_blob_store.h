// A BlobStore that keeps everything in memory and gives blobs as streams, as object storage does.
// Or, with a URL prefix, as redirects. Takes its time when it is told to.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "blob/blob_store.h"

namespace runnel::test {

// May be called from any thread.
class MemoryBlobStore final : public blob::BlobStore {
 public:
  MemoryBlobStore() = default;
  // `before_call` may sleep.
  explicit MemoryBlobStore(std::function<void()> before_call)
      : before_call_(std::move(before_call)) {}
  // open() redirects to `redirect_prefix` and the digest.
  explicit MemoryBlobStore(std::string redirect_prefix) : redirect_(std::move(redirect_prefix)) {}

  Result<std::optional<uint64_t>> size(const oci::Digest& digest) override {
    before_call_();
    const std::lock_guard lock(mutex_);
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) return std::nullopt;
    return found->second->size();
  }

  Result<std::optional<blob::StoredBlob>> find(const oci::Digest& digest) override {
    before_call_();
    const std::lock_guard lock(mutex_);
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) return std::nullopt;
    return blob::StoredBlob{digest, WallTime(), found->second->size()};
  }

  Result<std::optional<blob::Content>> open(const oci::Digest& digest) override {
    before_call_();
    const std::lock_guard lock(mutex_);
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) return std::nullopt;
    const auto size = found->second->size();
    if (!redirect_.empty())
      return blob::Content(blob::RedirectContent{redirect_ + digest.to_string(), size});
    return blob::Content(blob::StreamContent{std::make_unique<Reader>(found->second), size});
  }

  Result<bool> remove(const oci::Digest& digest) override {
    before_call_();
    const std::lock_guard lock(mutex_);
    return blobs_.erase(digest) != 0;
  }

  Result<std::vector<blob::StoredBlob>> list(const oci::Digest& after, size_t limit) override {
    before_call_();
    const std::lock_guard lock(mutex_);
    std::vector<blob::StoredBlob> found;
    for (auto at = blobs_.upper_bound(after); at != blobs_.end() && found.size() < limit; ++at)
      found.push_back({at->first, WallTime(), at->second->size()});
    return found;
  }

  Result<std::unique_ptr<blob::UploadWriter>> open_upload(const std::string& id,
                                                          uint64_t size) override {
    RUNNEL_DO(blob::check_upload_id(id));
    before_call_();
    const std::lock_guard lock(mutex_);
    const auto found = uploads_.find(id);
    if (size > (found == uploads_.end() ? 0 : found->second->size()))
      return fail(Code::kNotFound, "upload {} has fewer bytes", id);
    if (!locked_.insert(id).second) return fail(Code::kConflict, "upload {} has a writer", id);
    auto& bytes = uploads_[id];
    if (bytes == nullptr) bytes = std::make_shared<Buffer>();
    bytes->resize(size);
    return std::make_unique<Writer>(*this, id, bytes);
  }

  Result<bool> discard_upload(const std::string& id) override {
    RUNNEL_DO(blob::check_upload_id(id));
    before_call_();
    const std::lock_guard lock(mutex_);
    return uploads_.erase(id) != 0;
  }

  Result<std::vector<std::string>> uploads() override {
    before_call_();
    const std::lock_guard lock(mutex_);
    std::vector<std::string> ids;
    ids.reserve(uploads_.size());
    for (const auto& [id, bytes] : uploads_) ids.push_back(id);
    return ids;
  }

 private:
  static Result<size_t> copy_from(const Buffer& bytes, uint64_t offset, MutableBytes into) {
    if (offset >= bytes.size()) return 0;
    const auto count = std::min<uint64_t>(into.size(), bytes.size() - offset);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(offset), count, into.begin());
    return count;
  }

  class Reader final : public blob::BlobReader {
   public:
    explicit Reader(std::shared_ptr<const Buffer> bytes) : bytes_(std::move(bytes)) {}
    Result<size_t> read_at(uint64_t offset, MutableBytes into) override {
      return copy_from(*bytes_, offset, into);
    }

   private:
    std::shared_ptr<const Buffer> bytes_;
  };

  class Writer final : public blob::UploadWriter {
   public:
    Writer(MemoryBlobStore& store, std::string id, std::shared_ptr<Buffer> bytes)
        : store_(store), id_(std::move(id)), bytes_(std::move(bytes)) {}
    ~Writer() override {
      const std::lock_guard lock(store_.mutex_);
      store_.locked_.erase(id_);
    }

    uint64_t size() const override { return bytes_->size(); }
    Result<void> append(Bytes bytes) override {
      store_.before_call_();
      bytes_->insert(bytes_->end(), bytes.begin(), bytes.end());
      return {};
    }
    Result<void> read_exact_at(uint64_t offset, MutableBytes into) override {
      RUNNEL_TRY(const size_t count, copy_from(*bytes_, offset, into));
      if (count != into.size()) return fail(Code::kInvalid, "upload {} ends early", id_);
      return {};
    }
    Result<void> truncate(uint64_t size) override {
      store_.before_call_();
      bytes_->resize(size);
      return {};
    }
    Result<void> sync() override {
      store_.before_call_();
      return {};
    }
    Result<void> commit(const oci::Digest& digest) override {
      store_.before_call_();
      const std::lock_guard lock(store_.mutex_);
      const auto found = store_.uploads_.find(id_);
      if (found == store_.uploads_.end() || found->second != bytes_)
        return fail(Code::kNotFound, "upload {} was discarded", id_);
      store_.uploads_.erase(found);
      store_.blobs_[digest] = bytes_;
      return {};
    }

   private:
    MemoryBlobStore& store_;
    const std::string id_;
    const std::shared_ptr<Buffer> bytes_;
  };

  const std::string redirect_;
  const std::function<void()> before_call_ = [] {};
  std::mutex mutex_;
  std::map<oci::Digest, std::shared_ptr<const Buffer>> blobs_;
  std::map<std::string, std::shared_ptr<Buffer>> uploads_;
  std::set<std::string> locked_;
};

}  // namespace runnel::test
