#include "registry/backup.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/durable.h"
#include "base/fd.h"
#include "blob/directory_store.h"
#include "registry/blob_check.h"

namespace runnel::registry {

namespace {

namespace fs = std::filesystem;

constexpr size_t kBatch = 200;
constexpr int kAttempts = 5;
constexpr size_t kNamed = 3;  // repositories of a blob that is lost
constexpr auto kUpload = "backup";
constexpr size_t kPiece = 1 << 20;

constexpr const char* kLock = "/backup.lock";

// An earlier backup, be it one that was cut short, is known by its lock, which is made first. (A
// new disk's file system has a lost+found.)
Result<void> check_place(const std::string& data, const std::string& to) {
  std::error_code error;
  if (fs::equivalent(data, to, error))
    return fail(Code::kConflict, "{} is the registry's own data: name another place", to);
  if (fs::exists(to + kLock, error)) return {};
  for (const auto& entry : fs::directory_iterator(to, error)) {
    if (entry.path().filename() != "lost+found")
      return fail(
          Code::kConflict,
          "{} is neither empty nor an earlier backup, {} for one is in it: name another place", to,
          entry.path().filename().string());
  }
  if (error) return fail(Code::kUnavailable, "{}: {}", to, error.message());
  return {};
}

// Held until it is closed. The file stays: who removed it would take the lock of the next one away.
Result<UniqueFd> lock_place(const std::string& to) {
  const auto path = to + kLock;
  RUNNEL_TRY(auto file, open_file(path, O_RDWR | O_CREAT, 0600));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  if (errno == EWOULDBLOCK)
    return fail(Code::kConflict, "another backup is being written to {}: let it end", to);
  return fail_errno("lock {}", path);
}

// What copying one blob came to: empty when it was copied, otherwise why it could not be read. An
// error is the backup's own.
Result<std::string> copy_blob(blob::BlobStore& from, blob::BlobStore& to,
                              const oci::Digest& digest) {
  const auto content = from.open(digest);
  if (!content) return content.error().message;
  if (!*content) return std::string("it is gone");
  RUNNEL_TRY(const auto writer, to.open_upload(kUpload, 0));
  oci::Digester digester(digest.algorithm());
  Result<void> written;
  const auto use = [&](Bytes bytes) {
    digester.update(bytes);
    written = writer->append(bytes);
    return written;
  };
  const auto read = read_blob(**content, use);
  if (!written) return std::unexpected(written.error());
  if (!read) return read.error().message;
  if (digester.finish() != digest) return std::string("it has other bytes");
  RUNNEL_DO(writer->commit(digest));
  return std::string();
}

// One run over what the database in the backup links.
class BlobCopy {
 public:
  BlobCopy(blob::BlobStore& from, blob::BlobStore& to, meta::SqliteStore& served, BackedUp& done)
      : from_(from), to_(to), served_(served), done_(done) {}

  // False when a blob was collected after the database was copied: then it is not as of now.
  Result<bool> run(meta::SqliteStore& copy) {
    done_.lost.clear();
    oci::Digest after;
    while (true) {
      RUNNEL_TRY(const auto page, copy.linked_blobs(after, kBatch));
      if (page.empty()) return true;
      for (const auto& each : page) {
        RUNNEL_TRY(const bool as_of_now, save(each));
        if (!as_of_now) return false;
      }
      after = page.back().digest;
    }
  }

 private:
  Result<bool> save(const meta::LinkedBlob& linked) {
    RUNNEL_TRY(const auto there, to_.size(linked.digest));
    if (there == linked.largest) return true;
    RUNNEL_TRY(const auto why, copy_blob(from_, to_, linked.digest));
    if (why.empty()) {
      ++done_.blobs;
      done_.bytes += linked.largest;
      return true;
    }
    RUNNEL_TRY(const bool needed, served_.is_linked(linked.digest));
    if (!needed) return false;
    RUNNEL_TRY(const auto names, served_.repositories_with_blob(linked.digest, kNamed));
    done_.lost.push_back(fmt::format(
        "blob {} of {}: {}", linked.digest,
        names.empty() ? "what was deleted" : fmt::format("{}", fmt::join(names, ", ")), why));
    return true;
  }

  blob::BlobStore& from_;
  blob::BlobStore& to_;
  meta::SqliteStore& served_;
  BackedUp& done_;
};

// -wal and -shm belong to a database that is replaced; with another one they would be poison.
void remove_database(const std::string& path) {
  for (const auto* suffix : {"-wal", "-shm", ""}) ::unlink((path + suffix).c_str());
}

// A log that grows meanwhile is copied as far as it went at the beginning.
Result<void> copy_if_there(const std::string& from, const std::string& to, mode_t mode) {
  const auto file = open_file(from, O_RDONLY);
  if (!file && file.error().code == Code::kNotFound) return {};
  if (!file) return std::unexpected(file.error());
  RUNNEL_TRY(const uint64_t size, file_size(file->get()));
  const auto fill = [&](const auto& put) -> Result<void> {
    Buffer piece(std::min<uint64_t>(size, kPiece));
    for (uint64_t at = 0; at < size;) {
      const auto part = MutableBytes(piece).first(std::min<uint64_t>(piece.size(), size - at));
      RUNNEL_TRY(const size_t count, read_up_to_at(file->get(), part, at));
      if (count == 0) return {};  // cut off meanwhile
      RUNNEL_DO(put(Bytes(part).first(count)));
      at += count;
    }
    return {};
  };
  return replace_file_by(to, fill, mode);
}

// What is in no store and cannot be made again. Another converter's key would be one that no node
// trusts, another token key would end every login.
Result<void> copy_what_is_beside(const std::string& data, const std::string& to) {
  RUNNEL_DO(copy_if_there(data + "/converter.key", to + "/converter.key", 0600));
  RUNNEL_DO(copy_if_there(data + "/token.key", to + "/token.key", 0600));
  return copy_if_there(data + "/audit.log", to + "/audit.log", 0640);
}

}  // namespace

// The database comes first, under another name, then the blobs that it needs; it gets its name when
// they are there.
Result<BackedUp> back_up(const std::string& data, blob::BlobStore& blobs,
                         meta::SqliteStore& metadata, const Clock& clock, const std::string& to) {
  RUNNEL_DO(make_directories(to, 0750));
  RUNNEL_DO(check_place(data, to));
  RUNNEL_TRY(const auto lock, lock_place(to));
  RUNNEL_TRY(const auto target, blob::DirectoryStore::open(to + "/content"));
  const auto fresh = to + "/metadata.new";
  BackedUp done;
  BlobCopy blob_copy(blobs, *target, metadata, done);
  const auto copy_all = [&]() -> Result<bool> {
    remove_database(fresh);
    RUNNEL_DO(metadata.copy_to(fresh));
    RUNNEL_TRY(auto copy, meta::SqliteStore::open(fresh, clock));
    return blob_copy.run(*copy);
  };
  Result<bool> copied = false;
  for (int attempt = 0; copied && !*copied && attempt < kAttempts; ++attempt) copied = copy_all();
  if (copied && !*copied)
    copied = fail(Code::kUnavailable, "blobs went while they were copied, {} times: try it again",
                  kAttempts);
  RUNNEL_DO(target->discard_upload(kUpload));
  if (!copied) {
    remove_database(fresh);
    return std::unexpected(copied.error());
  }
  for (const auto* suffix : {"-wal", "-shm"}) ::unlink((fresh + suffix).c_str());
  RUNNEL_DO(copy_what_is_beside(data, to));
  for (const auto* suffix : {"-wal", "-shm"}) ::unlink((to + "/metadata.sqlite" + suffix).c_str());
  RUNNEL_DO(durable_rename(fresh, to + "/metadata.sqlite"));
  return done;
}

}  // namespace runnel::registry
