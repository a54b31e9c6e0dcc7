#include "cache/storage.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"
#include "cache/page_cache.h"

namespace runnel::cache {

namespace {

constexpr size_t kAlignment = 4096;

class DiskFile final : public File {
 public:
  DiskFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<void> read(MutableBytes into, uint64_t offset) const override {
    return read_exact_at(fd_.get(), into, offset);
  }

  bool read_now(MutableBytes into, uint64_t offset) const override {
    const iovec part{.iov_base = into.data(), .iov_len = into.size()};
    return ::preadv2(fd_.get(), &part, 1, static_cast<off_t>(offset), RWF_NOWAIT) ==
           static_cast<ssize_t>(into.size());
  }

  Result<void> read_from_disk(MutableBytes into, uint64_t offset) const override {
    // By the descriptor: another file may have the name by now.
    const auto self = fmt::format("/proc/self/fd/{}", fd_.get());
    const UniqueFd direct(::open(self.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    // tmpfs has no disk, some file systems no direct reads.
    if (!direct && errno == EINVAL) return read(into, offset);
    if (!direct) return fail_errno("open {}", path_);
    const std::unique_ptr<std::byte, decltype(&std::free)> memory(
        static_cast<std::byte*>(std::aligned_alloc(kAlignment, into.size())), &std::free);
    if (!memory) return fail(Code::kExhausted, "no memory for {} bytes", into.size());
    const ssize_t done =
        ::pread(direct.get(), memory.get(), into.size(), static_cast<off_t>(offset));
    // A device with larger blocks than ours. Taken for damage, all of it would be fetched again.
    if (done < 0 && errno == EINVAL) return read(into, offset);
    if (done != static_cast<ssize_t>(into.size())) {
      RUNNEL_DO(read_exact_at(direct.get(), MutableBytes(memory.get(), into.size()), offset));
    }
    std::memcpy(into.data(), memory.get(), into.size());
    return {};
  }

  Result<void> write(Bytes bytes, uint64_t offset) override {
    return write_all_at(fd_.get(), bytes, offset);
  }

  Result<void> sync() override {
    if (::fdatasync(fd_.get()) != 0) return fail_errno("fdatasync {}", path_);
    return {};
  }

  Result<uint64_t> size() const override { return file_size(fd_.get()); }

  Result<void> resize(uint64_t size) override {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) {
      return fail_errno("resize {}", path_);
    }
    return {};
  }

  uint64_t in_page_cache() const override {
    const auto bytes = size();
    return bytes ? page_cache_bytes(fd_.get(), *bytes).value_or(0) : 0;
  }

 private:
  const UniqueFd fd_;
  const std::string path_;
};

class DirectoryStorage final : public Storage {
 public:
  explicit DirectoryStorage(std::string directory) : directory_(std::move(directory)) {}

  Result<std::unique_ptr<File>> open(const std::string& name) override {
    RUNNEL_TRY(auto fd, open_file(path(name), O_RDWR | O_CREAT, 0600));
    return std::make_unique<DiskFile>(std::move(fd), path(name));
  }

  std::string path(const std::string& name) const override { return directory_ + "/" + name; }

  Result<void> sync_names() override {
    const auto synced = sync_directory(directory_);
    // Somebody emptied the cache: no name is left, and whoever reads the layer goes on.
    if (!synced && synced.error().code == Code::kNotFound) return {};
    if (!synced) return synced;
    return sync_directory(std::filesystem::path(directory_).parent_path().string());
  }

 private:
  const std::string directory_;
};

}  // namespace

std::unique_ptr<Storage> directory_storage(std::string directory) {
  return std::make_unique<DirectoryStorage>(std::move(directory));
}

}  // namespace runnel::cache
