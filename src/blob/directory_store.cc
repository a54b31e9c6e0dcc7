#include "blob/directory_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/durable.h"
#include "base/log.h"

namespace runnel::blob {

namespace {

constexpr mode_t kDirectoryMode = 0750;
constexpr mode_t kFileMode = 0640;
constexpr std::string_view kLayout = "runnel blobs 1\n";
// How many appended bytes may wait before their way to the disk is begun: the sync at the end of a
// large blob would otherwise wait for all of them.
constexpr uint64_t kWriteBehind = 16 << 20;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

Result<std::vector<std::string>> names_in(const std::string& path) {
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path.c_str()));
  if (directory == nullptr) return fail_errno("open {}", path);
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) return fail_errno("read {}", path);
      return names;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
}

StoredBlob stored_blob(const oci::Digest& digest, const struct stat& info) {
  // rename(2) sets the time of the last status change.
  const auto since =
      std::chrono::seconds(info.st_ctim.tv_sec) + std::chrono::nanoseconds(info.st_ctim.tv_nsec);
  return {digest, WallTime(since), static_cast<uint64_t>(info.st_size)};
}

Result<void> check_layout(const std::string& path) {
  RUNNEL_TRY(const Buffer bytes, read_file(path, 4096));
  if (as_text(bytes) == kLayout) return {};
  return fail(Code::kUnsupported,
              "{} does not say \"runnel blobs 1\": another program or a newer version made it",
              path);
}

Result<void> make_store(const std::string& root) {
  RUNNEL_DO(make_directories(root, kDirectoryMode));
  RUNNEL_TRY(const auto names, names_in(root));
  for (const auto& name : names)  // what a start that was killed here can have left
    if (name != "blobs" && name != "uploads" && !name.starts_with("layout.tmp."))
      return fail(Code::kConflict,
                  "{} is not empty and no blob store (it has {}, but no layout file): choose "
                  "another directory, or restore the store's files",
                  root, name);
  RUNNEL_DO(make_directories(root + "/blobs/sha256", kDirectoryMode));
  RUNNEL_DO(make_directories(root + "/blobs/sha512", kDirectoryMode));
  RUNNEL_DO(make_directories(root + "/uploads", kDirectoryMode));
  const auto layout = root + "/layout";
  auto made = replace_file(layout, as_bytes(kLayout), kFileMode);
  // Another process that starts was faster, and has taken our file away with what crashes left.
  if (!made && ::access(layout.c_str(), F_OK) == 0) return {};
  return made;
}

// What a start left that was killed here.
Result<void> remove_leftovers(const std::string& root) {
  RUNNEL_TRY(const auto names, names_in(root));
  for (const auto& name : names) {
    if (!name.starts_with("layout.tmp.")) continue;
    const auto path = fmt::format("{}/{}", root, name);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("remove {}", path);
  }
  return {};
}

}  // namespace

// Bound to one thread at a time. Bytes beyond size_ in the file are leftovers without meaning.
class DirectoryStore::Writer final : public UploadWriter {
 public:
  Writer(DirectoryStore& store, std::string path, UniqueFd file, uint64_t size)
      : store_(store), path_(std::move(path)), file_(std::move(file)), size_(size) {}
  // Not left to close(2): a child between fork and exec has the lock, too.
  ~Writer() override { ::flock(file_.get(), LOCK_UN); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  uint64_t size() const override { return size_; }

  Result<void> append(Bytes bytes) override {
    RUNNEL_DO(store_.check_writable());
    if (auto outcome = write_all_at(file_.get(), bytes, size_); !outcome) {
      // Gives the space back at once; if even that fails, the next append overwrites.
      if (::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0)
        log::debug("{}: cannot cut off a failed write", path_);
      return std::unexpected(outcome.error().in(path_));
    }
    size_ += bytes.size();
    if (size_ - written_behind_ >= kWriteBehind) begin_writing();
    return {};
  }

  Result<void> read_exact_at(uint64_t offset, MutableBytes into) override {
    return runnel::read_exact_at(file_.get(), into, offset);
  }

  Result<void> truncate(uint64_t size) override {
    RUNNEL_CHECK(size <= size_);
    if (::ftruncate(file_.get(), static_cast<off_t>(size)) != 0)
      return fail_errno("truncate {}", path_);
    size_ = size;
    written_behind_ = std::min(written_behind_, size);
    return {};
  }

  Result<void> sync() override {
    RUNNEL_DO(store_.check_writable());
    auto synced = store_.sync_file(file_.get(), path_);
    if (!synced) ::unlink(path_.c_str());
    return synced;
  }

  Result<void> commit(const oci::Digest& digest) override {
    RUNNEL_DO(store_.check_writable());
    if (::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0)
      return fail_errno("truncate {}", path_);
    RUNNEL_DO(sync());
    const auto directory = store_.blob_directory(digest);
    RUNNEL_DO(store_.make_blob_directory(digest));
    // By name, so that an upload that was discarded meanwhile cannot become a blob.
    const auto to = store_.blob_path(digest);
    if (::rename(path_.c_str(), to.c_str()) != 0) return fail_errno("rename {} to {}", path_, to);
    return sync_directory(directory);
  }

 private:
  void begin_writing() {
    // Only a hint: the sync at the end is what counts, and what reports errors.
    ::sync_file_range(file_.get(), static_cast<off_t>(written_behind_),
                      static_cast<off_t>(size_ - written_behind_), SYNC_FILE_RANGE_WRITE);
    written_behind_ = size_;
  }

  DirectoryStore& store_;
  const std::string path_;
  const UniqueFd file_;  // locked
  uint64_t size_;
  uint64_t written_behind_ = 0;
};

Result<std::unique_ptr<DirectoryStore>> DirectoryStore::open(const std::string& root) {
  const auto layout = root + "/layout";
  if (::access(layout.c_str(), F_OK) != 0) {
    if (errno != ENOENT) return fail_errno("look for {}", layout);
    RUNNEL_DO(make_store(root));
  }
  RUNNEL_DO(check_layout(layout));
  RUNNEL_DO(remove_leftovers(root));
  std::unique_ptr<DirectoryStore> store(new DirectoryStore(root));
  RUNNEL_TRY(store->layout_, open_file(layout, O_RDONLY));
  return store;
}

std::string DirectoryStore::blob_directory(const oci::Digest& digest) const {
  std::string path = root_;
  path.append("/blobs/").append(oci::to_string(digest.algorithm()));
  return path.append("/").append(digest.hex().substr(0, 2));
}

std::string DirectoryStore::blob_path(const oci::Digest& digest) const {
  RUNNEL_CHECK(!digest.empty());
  auto path = blob_directory(digest);
  path.append("/").append(digest.hex());
  return path;
}

Result<UniqueFd> DirectoryStore::open_if_present(const std::string& path, int flags) const {
  auto file = open_file(path, flags | O_NOFOLLOW);
  if (file || file.error().code != Code::kNotFound) return file;
  if (::access((root_ + "/layout").c_str(), F_OK) != 0)
    return fail(Code::kUnavailable, "the blob store's directory {} is gone", root_);
  return file;
}

Result<void> DirectoryStore::check_writable() const {
  if (!read_only_) return {};
  return fail(Code::kUnavailable,
              "{} takes no more writes since the disk failed: check it, then restart", root_);
}

Result<void> DirectoryStore::make_blob_directory(const oci::Digest& digest) {
  RUNNEL_TRY(const Buffer first_byte, from_hex(digest.hex().substr(0, 2)));
  const auto index = static_cast<size_t>(digest.algorithm()) * 256 + size_t(first_byte.at(0));
  if (durable_directories_[index]) return {};
  const auto directory = blob_directory(digest);
  RUNNEL_DO(make_directories(directory, kDirectoryMode));
  RUNNEL_DO(sync_directory(std::filesystem::path(directory).parent_path().string()));
  durable_directories_[index] = true;
  return {};
}

Result<std::optional<uint64_t>> DirectoryStore::size(const oci::Digest& digest) {
  RUNNEL_TRY(const auto content, open(digest));
  if (!content) return std::nullopt;
  return size_of(*content);
}

Result<std::optional<StoredBlob>> DirectoryStore::find(const oci::Digest& digest) {
  auto file = open_if_present(blob_path(digest), O_RDONLY);
  if (!file && file.error().code == Code::kNotFound) return std::nullopt;
  if (!file) return std::unexpected(std::move(file).error());
  struct stat info;
  if (::fstat(file->get(), &info) != 0) return fail_errno("stat blob {}", digest);
  return stored_blob(digest, info);
}

Result<std::optional<Content>> DirectoryStore::open(const oci::Digest& digest) {
  if (auto kept = open_files_.find(digest)) return Content(*std::move(kept));
  auto file = open_if_present(blob_path(digest), O_RDONLY);
  if (!file && file.error().code == Code::kNotFound) return std::nullopt;
  if (!file) return std::unexpected(std::move(file).error());
  RUNNEL_TRY(auto content, open_files_.add(digest, *std::move(file), SystemClock().wall()));
  return Content(std::move(content));
}

Result<bool> DirectoryStore::remove(const oci::Digest& digest) {
  RUNNEL_DO(check_writable());
  const auto path = blob_path(digest);
  if (::unlink(path.c_str()) == 0) {
    open_files_.forget(digest);
    RUNNEL_DO(sync_directory(blob_directory(digest)));
    return true;
  }
  if (errno == ENOENT) return false;
  return fail_errno("remove {}", path);
}

Result<bool> DirectoryStore::set_aside(const oci::Digest& digest) {
  RUNNEL_DO(check_writable());
  const auto directory = root_ + "/damaged";
  RUNNEL_DO(make_directories(directory, kDirectoryMode));
  const auto from = blob_path(digest);
  const auto to = fmt::format("{}/{}", directory, digest.hex());
  if (::rename(from.c_str(), to.c_str()) != 0) {
    if (errno == ENOENT) return false;
    return fail_errno("rename {} to {}", from, to);
  }
  open_files_.forget(digest);
  RUNNEL_DO(sync_directory(blob_directory(digest)));
  return true;
}

Result<std::vector<StoredBlob>> DirectoryStore::list(const oci::Digest& after, size_t limit) {
  std::vector<StoredBlob> found;
  for (const auto algorithm : {oci::Algorithm::kSha256, oci::Algorithm::kSha512}) {
    if (!after.empty() && algorithm < after.algorithm()) continue;
    for (unsigned first_byte = 0; first_byte < 256 && found.size() < limit; ++first_byte) {
      const auto prefix = fmt::format("{:02x}", first_byte);
      if (!after.empty() && algorithm == after.algorithm() && prefix < after.hex().substr(0, 2))
        continue;
      RUNNEL_DO(list_directory(algorithm, prefix, after, limit, found));
    }
  }
  return found;
}

// In the order of the digests; files that are not named like blobs are none. A directory of a large
// store is read for many pages, so only what this one gives is looked at.
Result<void> DirectoryStore::list_directory(oci::Algorithm algorithm, const std::string& prefix,
                                            const oci::Digest& after, size_t limit,
                                            std::vector<StoredBlob>& found) const {
  const auto path = fmt::format("{}/blobs/{}/{}", root_, oci::to_string(algorithm), prefix);
  auto names = names_in(path);
  if (!names && names.error().code == Code::kNotFound) return {};
  if (!names) return std::unexpected(std::move(names).error());
  if (!after.empty() && algorithm == after.algorithm())
    std::erase_if(*names, [&](const auto& name) { return name <= after.hex(); });
  std::ranges::sort(*names);
  for (const auto& name : *names) {
    if (found.size() >= limit) break;
    auto digest = oci::Digest::parse(fmt::format("{}:{}", oci::to_string(algorithm), name));
    struct stat info;
    if (!digest || ::stat(fmt::format("{}/{}", path, name).c_str(), &info) != 0) continue;
    found.push_back(stored_blob(*digest, info));
  }
  return {};
}

Result<std::unique_ptr<UploadWriter>> DirectoryStore::open_upload(const std::string& id,
                                                                  uint64_t size) {
  RUNNEL_DO(check_upload_id(id));
  RUNNEL_DO(check_writable());
  const auto path = upload_path(id);
  RUNNEL_TRY(auto file,
             open_file(path, O_RDWR | O_NOFOLLOW | (size == 0 ? O_CREAT : 0), kFileMode));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return fail(Code::kConflict, "another request is writing to upload {}", id);
    return fail_errno("lock {}", path);
  }
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return fail_errno("stat {}", path);
  if (info.st_nlink == 0) return fail(Code::kNotFound, "upload {} was discarded", id);
  if (static_cast<uint64_t>(info.st_size) < size)
    return fail(Code::kNotFound, "upload {} has lost bytes: {} of {} are left", id, info.st_size,
                size);
  return std::make_unique<Writer>(*this, path, std::move(file), size);
}

Result<void> DirectoryStore::sync_file(int file, const std::string& path) {
  if (::fdatasync(file) == 0) return {};
  const int error = errno;
  if (error == EIO) read_only_ = true;
  return std::unexpected(system_error(error, "sync " + path));
}

Result<bool> DirectoryStore::begin_upload_with(const std::string& id, int file) {
  RUNNEL_DO(check_upload_id(id));
  RUNNEL_DO(check_writable());
  const auto path = upload_path(id);
  RUNNEL_DO(sync_file(file, path));
  if (::fchmod(file, kFileMode) != 0) return fail_errno("chmod {}", path);
  const auto unnamed = fmt::format("/proc/self/fd/{}", file);
  if (::linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0)
    return true;
  if (errno == EXDEV) return false;
  return fail_errno("link an unnamed file to {}", path);
}

Result<bool> DirectoryStore::discard_upload(const std::string& id) {
  RUNNEL_DO(check_upload_id(id));
  const auto path = upload_path(id);
  if (::unlink(path.c_str()) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_errno("remove {}", path);
}

Result<std::vector<std::string>> DirectoryStore::uploads() {
  return names_in(root_ + "/uploads");
}

}  // namespace runnel::blob
