#include "snapshot/disk_usage.h"

#include <sys/stat.h>

#include <filesystem>
#include <set>

namespace runnel::snapshot {

Result<Usage> disk_usage(const std::string& directory) {
  namespace fs = std::filesystem;
  Usage usage;
  std::set<std::pair<dev_t, ino_t>> seen;
  const auto count = [&](const std::string& path) {
    struct stat info;
    if (::lstat(path.c_str(), &info) != 0) return;
    if (!seen.emplace(info.st_dev, info.st_ino).second) return;
    usage.bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    ++usage.inodes;
  };
  count(directory);
  std::error_code error;
  for (fs::recursive_directory_iterator at(directory, error), end; !error && at != end;
       at.increment(error)) {
    count(at->path().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return fail(Code::kUnavailable, "usage of {}: {}", directory, error.message());
  }
  return usage;
}

}  // namespace runnel::snapshot
