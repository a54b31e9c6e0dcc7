// blob/ keeps blobs: bytes named by their digest, and the uploads that become blobs.
//
// It holds the interface BlobStore and its drivers: a directory (directory_store.h); object storage
// will be another. It does not hold: who may read a blob, in which repository it is, which uploads
// exist, what is in a blob (see meta/ and registry/). Every driver passes the suite in
// tests/support/blob_store_conformance.h.
//
// Calls block (disk, later network): make them from a pool thread, not from an event loop. A
// BlobStore may be called from any thread; an UploadWriter or BlobReader from one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "oci/digest.h"

namespace runnel::blob {

// What open() gives: never a bare descriptor, because not every store has one.

// The blob is a file of its own, from its first byte to its last; sendfile it. Others may read from
// the same descriptor: by offset only.
struct FileContent {
  std::shared_ptr<const UniqueFd> file;
  uint64_t size = 0;
};

// The client is to ask there instead; the URL needs no credentials and holds for minutes.
struct RedirectContent {
  std::string url;
  uint64_t size = 0;
};

// Reads a blob piece by piece.
class BlobReader {
 public:
  virtual ~BlobReader() = default;
  // Fills `into` from `offset`; fewer bytes only at the end of the blob.
  virtual Result<size_t> read_at(uint64_t offset, MutableBytes into) = 0;
};

struct StreamContent {
  std::unique_ptr<BlobReader> reader;
  uint64_t size = 0;
};

using Content = std::variant<FileContent, RedirectContent, StreamContent>;

uint64_t size_of(const Content& content);

// The bytes of an upload that is under way. While it lives, nobody else, in whatever process, can
// write to this upload. Destroying it keeps the bytes.
class UploadWriter {
 public:
  virtual ~UploadWriter() = default;

  // What was appended, from before this writer's time too.
  virtual uint64_t size() const = 0;
  // On failure size() has not changed, and the same call may be tried again.
  virtual Result<void> append(Bytes bytes) = 0;
  virtual Result<void> read_exact_at(uint64_t offset, MutableBytes into) = 0;
  // Cuts off what is beyond `size` bytes, of which there are no fewer, and gives its space back.
  // On failure size() has not changed.
  virtual Result<void> truncate(uint64_t size) = 0;
  // After it, the size() bytes so far survive power loss. A failure loses the upload: its bytes can
  // no longer be trusted, and it is gone.
  virtual Result<void> sync() = 0;
  // Makes the bytes the blob `digest`, durably: after it, and after a power loss then, open() finds
  // the blob. The caller has found that the bytes have this digest. The blob may be there already;
  // it is then replaced by these equal bytes, which repairs one that went bad on disk. kNotFound
  // when the upload was discarded meanwhile. Nothing else may be called afterwards.
  virtual Result<void> commit(const oci::Digest& digest) = 0;
};

struct StoredBlob {
  oci::Digest digest;
  WallTime since;  // when it was committed last, about
  uint64_t size = 0;
  bool operator==(const StoredBlob&) const = default;
};

class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // Whether open() waits for nothing but a local disk: an event loop may then call it itself.
  virtual bool opens_at_once() const { return false; }

  // Empty only when the store knows that it has no such blob. That it cannot tell, for whatever
  // reason, is an error: absence makes people push again, or collect what refers to the blob.
  virtual Result<std::optional<uint64_t>> size(const oci::Digest& digest) = 0;
  virtual Result<std::optional<StoredBlob>> find(const oci::Digest& digest) = 0;
  virtual Result<std::optional<Content>> open(const oci::Digest& digest) = 0;
  // False when there was no such blob. Who has it open can go on reading.
  virtual Result<bool> remove(const oci::Digest& digest) = 0;

  // Those after `after` (or from the beginning, when that is empty) in the order of their digests;
  // at most `limit`. One that comes or goes meanwhile may be there or not.
  virtual Result<std::vector<StoredBlob>> list(const oci::Digest& after, size_t limit) = 0;

  // The upload `id` (lower-case letters, digits and '-', at most 64), begun now if it is new, to be
  // continued at `size` bytes: what was appended beyond is dropped. kNotFound when the store has
  // fewer, because it lost them in a crash; kConflict while another writer of this upload lives.
  virtual Result<std::unique_ptr<UploadWriter>> open_upload(const std::string& id,
                                                            uint64_t size) = 0;
  // Makes the bytes of a file of this machine that has no name (O_TMPFILE) those of the upload
  // `id`, which is new, and sees to it that they survive power loss. Whoever has the file open must
  // not write to it any more. False, and nothing changed, when the store would have to copy them.
  virtual Result<bool> begin_upload_with(const std::string& /*id*/, int /*file*/) { return false; }
  // False when there was no such upload. A writer that still lives cannot commit any more.
  virtual Result<bool> discard_upload(const std::string& id) = 0;
  // Every upload that has bytes here, in no order.
  virtual Result<std::vector<std::string>> uploads() = 0;
};

// kInvalid unless `id` may name an upload.
Result<void> check_upload_id(const std::string& id);

}  // namespace runnel::blob
