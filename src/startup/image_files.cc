#include "startup/image_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>

namespace runnel::startup {

namespace {

constexpr int kMaxLinks = 40;
constexpr size_t kMaxPath = 4096;

void put_parts_first(std::deque<std::string>& parts, std::string_view path) {
  size_t at = 0;
  while (!path.empty()) {
    const auto part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    if (part.empty() || part == ".") continue;
    parts.emplace(parts.begin() + static_cast<std::ptrdiff_t>(at++), part);
  }
}

}  // namespace

ImageFiles::ImageFiles(const erofs::Tree& tree, Read content, uint64_t budget)
    : tree_(tree), content_(std::move(content)), budget_(budget) {}

std::optional<ImageFiles::Found> ImageFiles::find(std::string_view path,
                                                  std::string_view base) const {
  if (path.size() + base.size() > kMaxPath || finds_ >= kMaxFinds) return std::nullopt;
  ++finds_;
  std::deque<std::string> parts;
  put_parts_first(parts, path);
  if (!path.starts_with('/')) put_parts_first(parts, base);
  // The directories from the root down, and their names.
  std::vector<Found> way = {{.inode = 0, .path = ""}};
  int links = 0;
  while (!parts.empty()) {
    const auto part = std::move(parts.front());
    parts.pop_front();
    if (part == "..") {
      if (way.size() > 1) way.pop_back();
      continue;
    }
    const auto& directory = tree_.inodes[way.back().inode];
    if (!S_ISDIR(directory.mode)) return std::nullopt;
    const auto entry =
        std::ranges::lower_bound(directory.entries, part, {}, &erofs::DirEntry::name);
    if (entry == directory.entries.end() || entry->name != part) return std::nullopt;
    const auto& inode = tree_.inodes[entry->inode];
    if (S_ISLNK(inode.mode)) {
      if (++links > kMaxLinks || parts.size() > kMaxPath) return std::nullopt;
      if (inode.symlink_target.starts_with('/')) way.resize(1);
      put_parts_first(parts, inode.symlink_target);
      continue;
    }
    way.push_back({.inode = entry->inode, .path = joined_path(way.back().path, part)});
    if (way.back().path.size() > kMaxPath) return std::nullopt;
  }
  if (way.size() == 1) way.back().path = "/";
  return std::move(way.back());
}

std::optional<ImageFiles::Found> ImageFiles::find_file(std::string_view path,
                                                       std::string_view base) const {
  auto found = find(path, base);
  if (!found || !S_ISREG(tree_.inodes[found->inode].mode)) return std::nullopt;
  return found;
}

std::optional<ImageFiles::Found> ImageFiles::find_directory(std::string_view path,
                                                            std::string_view base) const {
  auto found = find(path, base);
  if (!found || !S_ISDIR(tree_.inodes[found->inode].mode)) return std::nullopt;
  return found;
}

std::vector<std::string> ImageFiles::names(uint32_t inode) const {
  std::vector<std::string> out;
  for (const auto& entry : tree_.inodes[inode].entries) out.push_back(entry.name);
  return out;
}

Result<Buffer> ImageFiles::read(uint32_t inode, uint64_t offset, uint64_t size) {
  const uint64_t end = tree_.inodes[inode].size;
  size = offset < end ? std::min(size, end - offset) : 0;
  if (size == 0 || size > budget_) return Buffer();
  budget_ -= size;
  return content_(inode, offset, size);
}

std::string directory_of(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return "/";
  return std::string(path.substr(0, slash));
}

std::string joined_path(std::string_view directory, std::string_view name) {
  return fmt::format("{}/{}", directory, name);
}

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace runnel::startup
