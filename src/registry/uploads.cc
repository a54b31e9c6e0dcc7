#include "registry/uploads.h"

#include <sys/random.h>

#include "base/log.h"

namespace runnel::registry {

namespace {

constexpr size_t kMaxRemembered = 1024;
constexpr size_t kRehashBlock = 1 << 20;
constexpr size_t kCleanBatch = 1000;
constexpr size_t kMaxAbandoned = 100'000;
// Longer than any upload lives (upload_lifetime_s).
constexpr auto kEver = std::chrono::days(400);

// 128 random bits: who does not know the name of an upload cannot guess it.
std::string random_id() {
  std::array<std::byte, 16> bits;
  RUNNEL_CHECK(::getrandom(bits.data(), bits.size(), 0) == static_cast<ssize_t>(bits.size()));
  return to_hex(bits);
}

}  // namespace

// Only what was acknowledged is remembered: bytes beyond it may be replaced by others.
Receiving::~Receiving() {
  if (digester_ && algorithm_ == oci::Algorithm::kSha256 && size() == upload_.received)
    uploads_.remember(upload_.id, size(), *std::move(digester_));
}

Result<void> Receiving::append(Bytes bytes) {
  RUNNEL_DO(writer_->append(bytes));
  digester_->update(bytes);
  return {};
}

Result<void> Receiving::keep() {
  RUNNEL_DO(writer_->sync());
  auto kept = upload_;
  kept.received = size();
  kept.expires = uploads_.expiry();
  RUNNEL_DO(
      uploads_.metadata_.record_received(kept.repository, kept.id, kept.received, kept.expires));
  upload_ = std::move(kept);
  return {};
}

Result<void> Receiving::drop() {
  // Opening the upload again would cut this off, too. But most clients never come back, they begin
  // anew, and the space would be lost until the upload expires.
  if (upload_.received == 0) {
    RUNNEL_DO(uploads_.blobs_.discard_upload(upload_.id));
    return {};
  }
  if (size() == upload_.received) return {};
  digester_.reset();  // it has seen what goes
  return writer_->truncate(upload_.received);
}

Result<void> Receiving::finish(const oci::Digest& digest) {
  if (digest.algorithm() != algorithm_) RUNNEL_DO(hash_what_is_here(digest.algorithm()));
  const auto found = digester_ ? digester_->finish() : known_;
  digester_.reset();
  if (found != digest) {
    if (auto gone = uploads_.remove(upload_.repository, upload_.id); !gone)
      log::warning("upload {}: {}", upload_.id, gone.error().message);
    return fail(Code::kInvalid, "the {} bytes that came are {}, not {}", size(), found, digest);
  }
  const auto total = size();
  RUNNEL_DO(writer_->commit(digest));
  const auto is_stored = [&]() -> Result<bool> {
    RUNNEL_TRY(const auto stored, uploads_.blobs_.size(digest));
    return stored == total;
  };
  return uploads_.metadata_.finish_upload(upload_.repository, upload_.id, digest, total, is_stored);
}

Result<void> Receiving::hash_what_is_here(oci::Algorithm algorithm) {
  algorithm_ = algorithm;
  digester_.reset();  // for good, if this fails half-way
  oci::Digester digester(algorithm);
  Buffer block(std::min<uint64_t>(kRehashBlock, size()));
  for (uint64_t at = 0; at < size();) {
    const auto piece = MutableBytes(block).first(std::min<uint64_t>(block.size(), size() - at));
    RUNNEL_DO(writer_->read_exact_at(at, piece));
    digester.update(piece);
    at += piece.size();
  }
  digester_ = std::move(digester);
  return {};
}

WallTime Uploads::expiry() const {
  return clock_.wall() + lifetime_;
}

Result<meta::Upload> Uploads::start(std::string_view repository, std::string_view owner) {
  meta::Upload upload{.id = random_id(),
                      .repository = std::string(repository),
                      .owner = std::string(owner),
                      .received = 0,
                      .expires = expiry()};
  RUNNEL_DO(metadata_.create_upload(upload));
  return upload;
}

Result<std::optional<meta::Upload>> Uploads::find(std::string_view repository,
                                                  std::string_view owner, std::string_view id) {
  RUNNEL_TRY(auto found, metadata_.upload(repository, id));
  if (found && found->owner != owner) found.reset();
  return found;
}

Result<std::unique_ptr<Receiving>> Uploads::receive(std::string_view repository,
                                                    std::string_view owner, std::string_view id,
                                                    oci::Algorithm algorithm) {
  // The row is read before the writer is there and again after: in between another request may
  // have kept more bytes, and this one must not cut them off.
  for (int attempt = 0; attempt < 3; ++attempt) {
    RUNNEL_TRY(auto before, find(repository, owner, id));
    if (!before) return fail(Code::kNotFound, "there is no upload {} in {}", id, repository);
    RUNNEL_TRY(auto writer, blobs_.open_upload(before->id, before->received));
    RUNNEL_TRY(const auto after, metadata_.upload(repository, id));
    if (!after) {
      // Cancelled meanwhile; opening may have made its file again.
      RUNNEL_DO(blobs_.discard_upload(before->id));
      return fail(Code::kNotFound, "there is no upload {} in {}", id, repository);
    }
    if (after->received != before->received) continue;
    std::unique_ptr<Receiving> receiving(
        new Receiving(*this, *std::move(before), std::move(writer)));
    auto remembered = algorithm == oci::Algorithm::kSha256
                          ? recall(receiving->upload_.id, receiving->size())
                          : std::nullopt;
    if (remembered)
      receiving->digester_ = *std::move(remembered);
    else
      RUNNEL_DO(receiving->hash_what_is_here(algorithm));
    return receiving;
  }
  return fail(Code::kConflict, "another request is writing to upload {}", id);
}

Result<std::unique_ptr<Receiving>> Uploads::adopt(meta::Upload upload, int file, uint64_t size,
                                                  const oci::Digest& digest) {
  RUNNEL_TRY(const bool taken, blobs_.begin_upload_with(upload.id, file));
  if (!taken) return nullptr;
  upload.received = size;
  upload.expires = expiry();
  RUNNEL_DO(
      metadata_.record_received(upload.repository, upload.id, upload.received, upload.expires));
  RUNNEL_TRY(auto writer, blobs_.open_upload(upload.id, size));
  std::unique_ptr<Receiving> receiving(new Receiving(*this, std::move(upload), std::move(writer)));
  receiving->algorithm_ = digest.algorithm();
  receiving->digester_.reset();
  receiving->known_ = digest;
  return receiving;
}

Result<bool> Uploads::cancel(std::string_view repository, std::string_view owner,
                             std::string_view id) {
  RUNNEL_TRY(const auto found, find(repository, owner, id));
  if (!found) return false;
  return remove(repository, id);
}

Result<bool> Uploads::remove(std::string_view repository, std::string_view id) {
  // The row first: bytes without a row are found by clean(), a row without bytes misleads.
  RUNNEL_TRY(const bool existed, metadata_.delete_upload(repository, id));
  if (!existed) return false;
  RUNNEL_DO(blobs_.discard_upload(std::string(id)));
  const std::lock_guard lock(mutex_);
  remembered_.erase(std::string(id));
  return true;
}

Result<size_t> Uploads::abandon(std::string_view owner) {
  size_t count = 0;
  RUNNEL_TRY(const auto all, metadata_.expired_uploads(clock_.wall() + kEver, kMaxAbandoned));
  for (const auto& upload : all) {
    if (upload.owner != owner) continue;
    RUNNEL_TRY(const bool gone, remove(upload.repository, upload.id));
    count += gone ? 1 : 0;
  }
  return count;
}

Result<size_t> Uploads::clean() {
  size_t count = 0;
  while (true) {
    RUNNEL_TRY(const auto expired, metadata_.expired_uploads(clock_.wall(), kCleanBatch));
    for (const auto& upload : expired) {
      RUNNEL_TRY(const bool gone, remove(upload.repository, upload.id));
      count += gone ? 1 : 0;
    }
    if (expired.size() < kCleanBatch) break;
  }
  // Listed before the rows are looked at: an upload has its row before it has bytes, so bytes in
  // the list without a row have lost it.
  RUNNEL_TRY(const auto with_bytes, blobs_.uploads());
  for (const auto& id : with_bytes) {
    RUNNEL_TRY(const bool known, metadata_.upload_exists(id));
    if (known) continue;
    RUNNEL_TRY(const bool gone, blobs_.discard_upload(id));
    count += gone ? 1 : 0;
  }
  return count;
}

void Uploads::remember(const std::string& id, uint64_t size, oci::Digester digester) {
  const std::lock_guard lock(mutex_);
  if (remembered_.size() >= kMaxRemembered) remembered_.erase(remembered_.begin());
  remembered_.insert_or_assign(id, Remembered{size, std::move(digester)});
}

std::optional<oci::Digester> Uploads::recall(const std::string& id, uint64_t size) {
  const std::lock_guard lock(mutex_);
  const auto found = remembered_.find(id);
  if (found == remembered_.end()) return std::nullopt;
  auto node = remembered_.extract(found);  // whoever appends makes it wrong
  if (node.mapped().size != size) return std::nullopt;
  return std::move(node.mapped().digester);
}

}  // namespace runnel::registry
