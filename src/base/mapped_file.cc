#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/fd.h"

namespace runnel {

namespace {

// A page that the disk cannot give is an error here; in the mapping it would end the process.
Result<void> read_through(int fd, uint64_t size) {
  Buffer piece(std::min<uint64_t>(size, 256 << 10));
  for (uint64_t at = 0; at < size; at += piece.size()) {
    RUNNEL_DO(read_exact_at(fd, MutableBytes(piece).first(std::min(piece.size(), size - at)), at));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path,
                                                           uint64_t limit) {
  RUNNEL_TRY(const auto fd, open_file(path, O_RDONLY));
  RUNNEL_TRY(const uint64_t size, file_size(fd.get()));
  if (size > limit) {
    return fail(Code::kExhausted, "{} has {} bytes, more than {}", path, size, limit);
  }
  if (size == 0) return std::shared_ptr<const MappedFile>(new MappedFile({}));
  RUNNEL_DO(read_through(fd.get(), size));
  void* at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return fail_errno("map {}", path);
  return std::shared_ptr<const MappedFile>(
      new MappedFile(Bytes(static_cast<const std::byte*>(at), size)));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::let_go() const {
  if (bytes_.empty()) return;
  (void)::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

}  // namespace runnel
