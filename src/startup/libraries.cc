#include "startup/libraries.h"

#include <algorithm>
#include <deque>

namespace runnel::startup {

namespace {

constexpr size_t kMaxLoaded = 4096;
constexpr size_t kMaxDirectories = 256;
constexpr int kMaxIncludes = 4;  // of configuration files in each other
constexpr uint64_t kMaxConfiguration = 64 << 10;
// A file of up to this much is brought as it is: its code is spread over all of it.
constexpr uint64_t kWholeFile = 4 << 20;

std::string with_origin(std::string text, const std::string& origin) {
  for (const std::string_view name : {"${ORIGIN}", "$ORIGIN"}) {
    const auto at = text.find(name);
    if (at != std::string::npos) text.replace(at, name.size(), origin);
  }
  return text;
}

}  // namespace

Result<Libraries> Libraries::open(ImageFiles& files, Reads& reads,
                                  std::vector<std::string> search) {
  Libraries out(files, reads);
  out.before_ = std::move(search);
  RUNNEL_DO(out.read_configuration("/etc/ld.so.conf", 0));
  for (const auto* usual : {"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"})
    out.system_.emplace_back(usual);
  return out;
}

// Directories, and "include" with a pattern, of which we know the usual DIRECTORY/*.conf.
Result<void> Libraries::read_configuration(const std::string& path, int depth) {
  const auto file = files_.find_file(path);
  if (!file || depth > kMaxIncludes) return {};
  RUNNEL_TRY(const auto bytes, files_.read(file->inode, 0, kMaxConfiguration));
  auto text = as_text(bytes);
  while (!text.empty() && system_.size() < kMaxDirectories) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    line = line.substr(0, line.find('#'));
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
    constexpr std::string_view kInclude = "include ";
    constexpr std::string_view kAll = "/*.conf";
    if (line.starts_with('/')) {
      system_.emplace_back(line);
    } else if (line.starts_with(kInclude) && line.ends_with(kAll)) {
      line.remove_prefix(kInclude.size());
      line.remove_suffix(kAll.size());
      const auto directory = files_.find_directory(line, "/etc");
      if (!directory) continue;
      for (const auto& name : files_.names(directory->inode))
        if (name.ends_with(".conf"))
          RUNNEL_DO(read_configuration(joined_path(directory->path, name), depth + 1));
    }
  }
  return {};
}

Result<bool> Libraries::load(const ImageFiles::Found& file) {
  std::deque<ImageFiles::Found> next = {file};
  bool is_elf = true;
  while (!next.empty() && loaded_.size() < kMaxLoaded) {
    const auto current = std::move(next.front());
    next.pop_front();
    if (!loaded_.insert(current.inode).second) continue;
    RUNNEL_TRY(const auto elf, read_elf([&](uint64_t offset, uint64_t size) {
                 return files_.read(current.inode, offset, size);
               }));
    if (!elf) {
      is_elf = is_elf && current.inode != file.inode;
      continue;
    }
    add_parts(current.inode, *elf);
    if (const auto linker = files_.find_file(elf->interpreter); linker && !elf->interpreter.empty())
      next.push_back(*linker);
    for (const auto& name : elf->needed)
      if (auto found = find(name, *elf, directory_of(current.path)))
        next.push_back(*std::move(found));
  }
  return is_elf;
}

void Libraries::add_parts(uint32_t inode, const ElfFile& elf) {
  if (files_.size(inode) <= kWholeFile) return reads_.add_file(inode, kWholeFile);
  for (const auto& part : elf.linking)
    reads_.add({.inode = inode, .offset = part.offset, .size = part.size});
}

std::optional<ImageFiles::Found> Libraries::find(const std::string& name, const ElfFile& by,
                                                 const std::string& directory) const {
  if (name.find('/') != std::string::npos) return files_.find_file(with_origin(name, directory));
  for (const auto& each : before_)
    if (auto found = files_.find_file(joined_path(each, name))) return found;
  for (const auto& each : by.search)
    if (auto found = files_.find_file(joined_path(with_origin(each, directory), name)))
      return found;
  for (const auto& each : system_)
    if (auto found = files_.find_file(joined_path(each, name))) return found;
  return std::nullopt;
}

}  // namespace runnel::startup
