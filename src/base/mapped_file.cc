#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "base/fd.h"

namespace runnel {

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path,
                                                           uint64_t limit) {
  RUNNEL_TRY(const auto fd, open_file(path, O_RDONLY));
  RUNNEL_TRY(const uint64_t size, file_size(fd.get()));
  if (size > limit) {
    return fail(Code::kExhausted, "{} has {} bytes, more than {}", path, size, limit);
  }
  if (size == 0) return std::shared_ptr<const MappedFile>(new MappedFile({}));
  void* at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return fail_errno("map {}", path);
  return std::shared_ptr<const MappedFile>(
      new MappedFile(Bytes(static_cast<const std::byte*>(at), size)));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace runnel
