// A BlobStore that counts its calls and lets a test do something at a point of another one.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "blob/blob_store.h"

namespace runnel::test {

// As thread-safe as what it passes calls on to; the functions are set before it is used.
class WatchedBlobStore final : public blob::BlobStore {
 public:
  explicit WatchedBlobStore(blob::BlobStore& store) : store_(store) {}

  std::function<void()> after_find = [] {};
  std::function<void()> before_open = [] {};
  std::function<void()> before_remove = [] {};
  std::function<void()> after_commit = [] {};
  std::atomic<int> calls = 0;

  Result<std::optional<uint64_t>> size(const oci::Digest& digest) override {
    ++calls;
    return store_.size(digest);
  }
  Result<std::optional<blob::StoredBlob>> find(const oci::Digest& digest) override {
    ++calls;
    auto found = store_.find(digest);
    after_find();
    return found;
  }
  Result<std::optional<blob::Content>> open(const oci::Digest& digest) override {
    ++calls;
    before_open();
    return store_.open(digest);
  }
  Result<bool> remove(const oci::Digest& digest) override {
    ++calls;
    before_remove();
    return store_.remove(digest);
  }
  Result<std::vector<blob::StoredBlob>> list(const oci::Digest& after, size_t limit) override {
    ++calls;
    return store_.list(after, limit);
  }
  Result<std::unique_ptr<blob::UploadWriter>> open_upload(const std::string& id,
                                                          uint64_t size) override {
    RUNNEL_TRY(auto writer, store_.open_upload(id, size));
    return std::make_unique<Writer>(*this, std::move(writer));
  }
  Result<bool> discard_upload(const std::string& id) override { return store_.discard_upload(id); }
  Result<std::vector<std::string>> uploads() override { return store_.uploads(); }

 private:
  class Writer final : public blob::UploadWriter {
   public:
    Writer(WatchedBlobStore& store, std::unique_ptr<blob::UploadWriter> writer)
        : store_(store), writer_(std::move(writer)) {}
    uint64_t size() const override { return writer_->size(); }
    Result<void> append(Bytes bytes) override { return writer_->append(bytes); }
    Result<void> read_exact_at(uint64_t offset, MutableBytes into) override {
      return writer_->read_exact_at(offset, into);
    }
    Result<void> truncate(uint64_t size) override { return writer_->truncate(size); }
    Result<void> sync() override { return writer_->sync(); }
    Result<void> commit(const oci::Digest& digest) override {
      auto outcome = writer_->commit(digest);
      store_.after_commit();
      return outcome;
    }

   private:
    WatchedBlobStore& store_;
    const std::unique_ptr<blob::UploadWriter> writer_;
  };

  blob::BlobStore& store_;
};

}  // namespace runnel::test
