// Blobs in a directory:
//
//   ROOT/layout                    "runnel blobs 1\n", written last when the store is made
//   ROOT/blobs/sha256/ab/ab12…     one file a blob, spread over 256 directories by its first byte
//   ROOT/uploads/ID                one file an upload, in the same file system as the blobs
//   ROOT/damaged/ab12…             what was a blob and had other bytes than its digest says
//
// A blob comes into being by rename(2) of an upload whose bytes are durable, so a file below blobs/
// is complete and never changes. The writer of an upload holds flock(2) on its file, which ends
// with the process, so that a crash leaves nothing locked and several processes can share ROOT.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string>

#include "blob/blob_store.h"
#include "blob/open_files.h"

namespace runnel::blob {

class DirectoryStore final : public BlobStore {
 public:
  // Makes the store when `root` is absent or an empty directory. kConflict when `root` holds
  // something else: a store whose disk is not mounted must not be taken for an empty one. Removes
  // what a start left that was killed while it made the store.
  static Result<std::unique_ptr<DirectoryStore>> open(const std::string& root);

  bool opens_at_once() const override { return true; }
  Result<std::optional<uint64_t>> size(const oci::Digest& digest) override;
  Result<std::optional<StoredBlob>> find(const oci::Digest& digest) override;
  Result<std::optional<Content>> open(const oci::Digest& digest) override;
  Result<bool> remove(const oci::Digest& digest) override;
  Result<std::vector<StoredBlob>> list(const oci::Digest& after, size_t limit) override;
  Result<std::unique_ptr<UploadWriter>> open_upload(const std::string& id, uint64_t size) override;
  // False when the file is in another file system.
  Result<bool> begin_upload_with(const std::string& id, int file) override;
  Result<bool> discard_upload(const std::string& id) override;
  Result<std::vector<std::string>> uploads() override;

  // Lets go of files that nobody reads any more (OpenFiles). Call it now and again.
  void close_unused() { open_files_.forget_unused(); }
  // As remove(), for a blob whose bytes are not what its digest says: they are kept where people
  // can look at them, and nobody gets them as the blob any more.
  Result<bool> set_aside(const oci::Digest& digest);

 private:
  class Writer;

  explicit DirectoryStore(std::string root) : root_(std::move(root)) {}

  std::string blob_directory(const oci::Digest& digest) const;
  std::string blob_path(const oci::Digest& digest) const;
  std::string upload_path(const std::string& id) const { return root_ + "/uploads/" + id; }
  // kNotFound means only that there is no such file: a root that is gone is kUnavailable.
  Result<UniqueFd> open_if_present(const std::string& path, int flags) const;
  Result<void> check_writable() const;
  // Syncs, and takes no more writes when the disk fails at that.
  Result<void> sync_file(int file, const std::string& path);
  // Adds those after `after`, until `found` has `limit`.
  Result<void> list_directory(oci::Algorithm algorithm, const std::string& prefix,
                              const oci::Digest& after, size_t limit,
                              std::vector<StoredBlob>& found) const;
  // Makes the directory of this blob, durably.
  Result<void> make_blob_directory(const oci::Digest& digest);

  static constexpr size_t kMostOpen = 128;

  const std::string root_;
  OpenFiles open_files_{kMostOpen};
  UniqueFd layout_;  // open as long as this is, so that its file system stays
  // Set when a sync failed with EIO. What the kernel dropped then cannot be synced by trying again,
  // so this process writes nothing more here.
  std::atomic<bool> read_only_ = false;
  // By algorithm and first byte: which directories this process has seen to be durable. That one
  // exists is not enough, another process may have made it and not have synced it yet.
  std::array<std::atomic<bool>, 512> durable_directories_ = {};
};

}  // namespace runnel::blob
