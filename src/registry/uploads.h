// Uploads: from the first byte of a blob to its link in a repository.
//
// What is acknowledged is durable: keep() and finish() return when the bytes, and the row that
// counts them, are on the disk. An upload that was cut off is continued at the last count that was
// kept, by whatever process gets the next request.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/error.h"
#include "blob/blob_store.h"
#include "meta/metadata_store.h"
#include "oci/digest.h"

namespace runnel::registry {

class Uploads;

// One request's bytes for an upload, while they come in. Nobody else can write to the upload.
// One thread at a time.
class Receiving {
 public:
  ~Receiving();

  // How many bytes of the blob are here, those of earlier requests included.
  uint64_t size() const { return writer_->size(); }
  const meta::Upload& upload() const { return upload_; }

  Result<void> append(Bytes bytes);
  // Acknowledges what came so far: the upload goes on at size().
  Result<void> keep();
  // Throws away what this request brought and gives its space back. Nothing else may be called
  // afterwards.
  Result<void> drop();
  // Makes the upload a blob of its repository. kInvalid when the bytes do not have this digest; the
  // upload is then gone.
  Result<void> finish(const oci::Digest& digest);

 private:
  friend class Uploads;
  Receiving(Uploads& uploads, meta::Upload upload, std::unique_ptr<blob::UploadWriter> writer)
      : uploads_(uploads), upload_(std::move(upload)), writer_(std::move(writer)) {}

  Result<void> hash_what_is_here(oci::Algorithm algorithm);

  Uploads& uploads_;
  meta::Upload upload_;
  std::unique_ptr<blob::UploadWriter> writer_;
  oci::Algorithm algorithm_ = oci::Algorithm::kSha256;
  // Of the size() bytes; none once it has been used, or of bytes whose digest is known.
  std::optional<oci::Digester> digester_ = oci::Digester();
  oci::Digest known_;  // empty: digester_ tells
};

// May be called from any thread; calls block.
class Uploads {
 public:
  // The stores and the clock must outlive this. An upload without a request for `lifetime` is
  // thrown away.
  Uploads(blob::BlobStore& blobs, meta::MetadataStore& metadata, const Clock& clock,
          Duration lifetime)
      : blobs_(blobs), metadata_(metadata), clock_(clock), lifetime_(lifetime) {}

  // An upload belongs to its repository and its owner: for others it does not exist.
  Result<meta::Upload> start(std::string_view repository, std::string_view owner);
  Result<std::optional<meta::Upload>> find(std::string_view repository, std::string_view owner,
                                           std::string_view id);
  // Opens the upload for more bytes, to be hashed with `algorithm`. kNotFound when there is none,
  // kConflict while another request writes to it.
  Result<std::unique_ptr<Receiving>> receive(std::string_view repository, std::string_view owner,
                                             std::string_view id, oci::Algorithm algorithm);
  // Makes a file's `size` bytes those of an upload that has none yet, durably and without reading
  // them: the caller has found that they have this digest. Only finish() may follow. Null when the
  // blob store cannot (BlobStore::begin_upload_with): then they must be appended.
  Result<std::unique_ptr<Receiving>> adopt(meta::Upload upload, int file, uint64_t size,
                                           const oci::Digest& digest);
  // False when there was none.
  Result<bool> cancel(std::string_view repository, std::string_view owner, std::string_view id);

  // Throws away what uploads the owner has (some, when there are very many): nobody may be at one.
  // How many there were.
  Result<size_t> abandon(std::string_view owner);
  // Throws away uploads that have expired, and bytes whose upload is not known any more because a
  // crash came between the two. How many there were.
  Result<size_t> clean();

 private:
  friend class Receiving;

  WallTime expiry() const;
  Result<bool> remove(std::string_view repository, std::string_view id);
  void remember(const std::string& id, uint64_t size, oci::Digester digester);
  std::optional<oci::Digester> recall(const std::string& id, uint64_t size);

  blob::BlobStore& blobs_;
  meta::MetadataStore& metadata_;
  const Clock& clock_;
  const Duration lifetime_;

  // The running SHA-256 of uploads between two requests, only to save reading the bytes again: an
  // entry counts when its size is the upload's, because bytes before that never change.
  struct Remembered {
    uint64_t size;
    oci::Digester digester;
  };
  std::mutex mutex_;
  std::unordered_map<std::string, Remembered> remembered_;
};

}  // namespace runnel::registry
