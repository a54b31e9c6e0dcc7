#include "base/memory_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <string>

#include "base/fd.h"

namespace runnel {

namespace {

// Whoever sets the variable may name any descriptor: only one of ours will do.
bool is_ours(int fd, const std::string& name, size_t size) {
  std::array<char, 128> link{};
  const auto path = fmt::format("/proc/self/fd/{}", fd);
  const ssize_t length = ::readlink(path.c_str(), link.data(), link.size());
  struct stat about{};
  return length > 0 &&
         std::string_view(link.data(), static_cast<size_t>(length)) ==
             fmt::format("/memfd:{} (deleted)", name) &&
         ::fstat(fd, &about) == 0 && about.st_size >= static_cast<off_t>(size);
}

}  // namespace

Result<int> keep_memory_file(const char* variable, const char* name, size_t size) {
  if (const char* text = std::getenv(variable)) {
    const std::string_view view(text);
    int fd = -1;
    const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), fd);
    if (error == std::errc() && end == view.data() + view.size() && is_ours(fd, name, size))
      return fd;
  }
  UniqueFd memory(::memfd_create(name, 0));
  if (!memory || ::ftruncate(memory.get(), static_cast<off_t>(size)) != 0)
    return fail_errno("make a file in memory");
  if (::setenv(variable, std::to_string(memory.get()).c_str(), 1) != 0) return fail_errno("setenv");
  return memory.release();
}

}  // namespace runnel
