#include "cache/disk.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"
#include "cache/fault.h"

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

// Where the layer's files go before they are deleted: "HEX.gone", or "HEX.1.gone" and so on beside
// one that could not be deleted.
std::string free_name_for(const std::string& path) {
  auto name = path + std::string(kGone);
  for (int number = 1; is_stored(name); ++number) {
    name = fmt::format("{}.{}{}", path, number, kGone);
  }
  return name;
}

}  // namespace

Result<std::vector<StoredLayer>> scan_layers(const std::string& directory) {
  std::vector<StoredLayer> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const auto path = entry.path().string();
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
  const auto gone = free_name_for(path);
  if (const int injected = fault("delete-layer")) {
    return std::unexpected(system_error(injected, "rename " + path + " (injected)"));
  }
  if (auto renamed = durable_rename(path, gone); !renamed) {
    if (renamed.error().code == Code::kNotFound) return {};
    return renamed;
  }
  return remove_tree(gone);
}

bool is_stored(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0;
}

Result<void> remove_leftovers(const std::string& directory) {
  std::vector<std::string> left;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const auto path = entry.path().string();
    if (path.ends_with(kGone)) left.push_back(path);
  }
  if (error) return fail(Code::kUnavailable, "read {}: {}", directory, error.message());
  if (left.empty()) return {};
  // The rename of one may not be durable yet.
  RUNNEL_DO(sync_directory(directory));
  Result<void> outcome;
  for (const auto& path : left) {
    auto removed = remove_tree(path);
    if (!removed && outcome) outcome = std::move(removed);
  }
  return outcome;
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
