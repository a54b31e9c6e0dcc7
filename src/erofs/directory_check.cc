#include "erofs/directory_check.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/quote.h"

namespace runnel::erofs {
namespace {

bool is_dots(const Dirent& entry) {
  return entry.name == "." || entry.name == "..";
}

}  // namespace

Result<void> DirectoryCheck::next(std::vector<Dirent>& entries) {
  entries.clear();
  RUNNEL_TRY(const Bytes block, reader_.content_block(directory_, next_++));
  const auto loaded = load_directory_block(block, entries);
  if (!loaded) return bad("{}", loaded.error().message);
  RUNNEL_DO(check_end(block, entries.back().name));
  RUNNEL_DO(check_order(entries));
  RUNNEL_DO(take_dots(entries));
  if (at_end() && dots_ != 2) return bad("has {} of \".\" and \"..\"", dots_);
  return {};
}

Result<void> DirectoryCheck::check_end(Bytes block, std::string_view last_name) const {
  const auto* end = reinterpret_cast<const std::byte*>(last_name.data() + last_name.size());
  const Bytes rest = block.subspan(end - block.data());
  const auto is_set = [](std::byte byte) { return byte != std::byte{0}; };
  if (std::ranges::any_of(rest, is_set) || (at_end() && !rest.empty())) {
    return bad("block {} goes on behind its names", next_ - 1);
  }
  return {};
}

Result<void> DirectoryCheck::check_order(const std::vector<Dirent>& entries) {
  for (const Dirent& entry : entries) {
    if (entry.name <= last_name_) return bad("entries are out of order or there twice");
    last_name_ = entry.name;
  }
  return {};
}

Result<void> DirectoryCheck::take_dots(std::vector<Dirent>& entries) {
  const size_t before = dots_;
  for (const Dirent& entry : entries) {
    if (!is_dots(entry)) continue;
    if (entry.nid != (entry.name == "." ? directory_.nid : parent_) ||
        entry.type != dirent_type(S_IFDIR)) {
      return bad("{} leads to inode {}", quote(entry.name), entry.nid);
    }
    ++dots_;
  }
  if (dots_ != before) std::erase_if(entries, is_dots);
  return {};
}

}  // namespace runnel::erofs
