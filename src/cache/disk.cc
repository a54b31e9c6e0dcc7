#include "cache/disk.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"
#include "base/log.h"

namespace runnel::cache {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kGone = ".gone";

Result<void> remove_tree(const std::string& path) {
  std::error_code failed;
  fs::remove_all(path, failed);
  if (failed) return fail(Code::kUnavailable, "remove {}: {}", path, failed.message());
  return {};
}

WallTime modified(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return {};
  return WallTime(std::chrono::seconds(info.st_mtim.tv_sec) +
                  std::chrono::nanoseconds(info.st_mtim.tv_nsec));
}

}  // namespace

Result<std::vector<StoredLayer>> scan_layers(const std::string& directory) {
  std::vector<StoredLayer> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const auto path = entry.path().string();
    if (path.ends_with(kGone)) {
      if (auto gone = remove_tree(path); !gone) log::error("{}", gone.error().message);
      continue;
    }
    auto digest = oci::Digest::parse("sha256:" + entry.path().filename().string());
    if (!digest) continue;
    found.push_back({.digest = *std::move(digest),
                     .bytes = allocated_bytes(path),
                     .used = modified(path + "/used")});
  }
  if (error) return fail(Code::kUnavailable, "read {}: {}", directory, error.message());
  return found;
}

Result<void> delete_layer(const std::string& path) {
  const auto gone = path + std::string(kGone);
  if (auto renamed = durable_rename(path, gone); !renamed) {
    if (renamed.error().code == Code::kNotFound) return {};
    return renamed;
  }
  return remove_tree(gone);
}

uint64_t allocated_bytes(const std::string& path) {
  struct stat info;
  if (::stat((path + "/device").c_str(), &info) != 0) return 0;
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

void set_used(const std::string& path, WallTime when) {
  const auto since = when.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  const timespec at{.tv_sec = seconds.count(), .tv_nsec = (since - seconds).count()};
  const timespec times[] = {at, at};
  // Only an order of deletion hangs on it.
  const auto file = open_file(path + "/used", O_WRONLY | O_CREAT, 0600);
  if (file) (void)!::futimens(file->get(), times);
}

}  // namespace runnel::cache
