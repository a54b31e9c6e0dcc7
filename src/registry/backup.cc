#include "registry/backup.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"
#include "blob/directory_store.h"
#include "registry/blob_check.h"

namespace runnel::registry {

namespace {

constexpr size_t kBatch = 200;
constexpr int kAttempts = 5;
constexpr auto kUpload = "backup";  // one name, so that two backups to one place do not mix
constexpr uint64_t kMaxKey = 1 << 20;

Result<void> copy_blob(blob::BlobStore& from, blob::BlobStore& to, const oci::Digest& digest) {
  RUNNEL_TRY(const auto content, from.open(digest));
  if (!content) return fail(Code::kNotFound, "blob {} is gone", digest);
  RUNNEL_TRY(const auto writer, to.open_upload(kUpload, 0));
  oci::Digester digester(digest.algorithm());
  const auto use = [&](Bytes bytes) -> Result<void> {
    digester.update(bytes);
    return writer->append(bytes);
  };
  RUNNEL_DO(read_blob(*content, use));
  if (digester.finish() != digest)
    return fail(Code::kInvalid, "blob {} is damaged: runnel registry fsck --repair, and push it",
                digest);
  return writer->commit(digest);
}

// What the database in the backup links and the backup does not have. kNotFound when a blob was
// collected after the database was copied.
Result<void> copy_blobs(blob::BlobStore& from, blob::BlobStore& to, meta::SqliteStore& metadata,
                        BackedUp& done) {
  oci::Digest after;
  while (true) {
    RUNNEL_TRY(const auto page, metadata.linked_blobs(after, kBatch));
    if (page.empty()) return {};
    for (const auto& each : page) {
      RUNNEL_TRY(const auto there, to.size(each.digest));
      if (there == each.largest) continue;
      RUNNEL_DO(copy_blob(from, to, each.digest));
      ++done.blobs;
      done.bytes += each.largest;
    }
    after = page.back().digest;
  }
}

// -wal and -shm belong to a database that is replaced; with another one they would be poison.
void remove_database(const std::string& path) {
  for (const auto* suffix : {"-wal", "-shm", ""}) ::unlink((path + suffix).c_str());
}

Result<void> copy_key(const std::string& data, const std::string& to) {
  const auto key = read_file(data + "/token.key", kMaxKey);
  if (!key && key.error().code == Code::kNotFound) return {};
  if (!key) return std::unexpected(key.error());
  return replace_file(to + "/token.key", *key, 0600);
}

}  // namespace

// The database comes first, under another name, then the blobs that it needs; it gets its name when
// they are there.
Result<BackedUp> back_up(const std::string& data, blob::BlobStore& blobs,
                         meta::SqliteStore& metadata, const Clock& clock, const std::string& to) {
  RUNNEL_DO(make_directories(to, 0750));
  RUNNEL_TRY(const auto target, blob::DirectoryStore::open(to + "/content"));
  const auto fresh = to + "/metadata.new";
  BackedUp done;
  Result<void> copied;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    remove_database(fresh);
    RUNNEL_DO(metadata.copy_to(fresh));
    RUNNEL_TRY(auto copy, meta::SqliteStore::open(fresh, clock));
    copied = copy_blobs(blobs, *target, *copy, done);
    if (copied || copied.error().code != Code::kNotFound) break;
  }
  if (!copied) {
    remove_database(fresh);
    RUNNEL_DO(target->discard_upload(kUpload));
    return std::unexpected(copied.error());
  }
  for (const auto* suffix : {"-wal", "-shm"}) ::unlink((fresh + suffix).c_str());
  RUNNEL_DO(copy_key(data, to));
  for (const auto* suffix : {"-wal", "-shm"}) ::unlink((to + "/metadata.sqlite" + suffix).c_str());
  RUNNEL_DO(durable_rename(fresh, to + "/metadata.sqlite"));
  return done;
}

}  // namespace runnel::registry
