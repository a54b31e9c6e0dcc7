#include "convert/tree_difference.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quote.h"

namespace runnel::convert {

namespace {

using erofs::Inode;

// A name that leads to the inode. Only for a message: it looks through all directories.
std::string path_of(const std::vector<Inode>& inodes, uint32_t wanted) {
  if (wanted == 0) return "/";
  for (uint32_t at = 0; at < wanted; ++at) {
    for (const auto& entry : inodes[at].entries) {
      if (entry.inode != wanted) continue;
      return (at == 0 ? "/" : path_of(inodes, at) + "/") + entry.name;
    }
  }
  return fmt::format("inode {}", wanted);
}

template <class Value>
std::string differs(const char* what, const Value& expected, const Value& found) {
  return fmt::format("its {} is {}, expected {}", what, found, expected);
}

// The first name that only one of the two has.
std::string names_differ(const Inode& expected, const Inode& found) {
  const auto lacks = [](const Inode& all, const Inode& other) -> const erofs::DirEntry* {
    for (const auto& entry : all.entries)
      if (std::ranges::find(other.entries, entry.name, &erofs::DirEntry::name) ==
          other.entries.end())
        return &entry;
    return nullptr;
  };
  if (const auto* missing = lacks(expected, found))
    return fmt::format("{} is missing in it", quote(missing->name));
  if (const auto* strange = lacks(found, expected))
    return fmt::format("{} is in it and should not be", quote(strange->name));
  return "a name in it leads to something else";
}

std::optional<std::string> difference(const Inode& a, const Inode& b) {
  if (a.mode != b.mode) return fmt::format("its mode is {:06o}, expected {:06o}", b.mode, a.mode);
  if (a.uid != b.uid) return differs("owner", a.uid, b.uid);
  if (a.gid != b.gid) return differs("group", a.gid, b.gid);
  if (a.mtime_s != b.mtime_s) return differs("time", a.mtime_s, b.mtime_s);
  if (a.mtime_ns != b.mtime_ns) return differs("time's nanoseconds", a.mtime_ns, b.mtime_ns);
  if (a.size != b.size) return differs("size", a.size, b.size);
  if (a.rdev != b.rdev) return differs("device number", a.rdev, b.rdev);
  if (a.symlink_target != b.symlink_target)
    return differs("target", quote(a.symlink_target), quote(b.symlink_target));
  if (a.entries != b.entries) return names_differ(a, b);
  if (a.xattrs != b.xattrs) return "its extended attributes are other ones";
  if (a.extents != b.extents) return "its content lies somewhere else";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> first_difference(const TreeView& expected, const TreeView& found) {
  const size_t both = std::min(expected.inodes.size(), found.inodes.size());
  for (uint32_t i = 0; i < both; ++i) {
    auto what = difference(expected.inodes[i], found.inodes[i]);
    if (!what && i < expected.flags.size() && i < found.flags.size() &&
        expected.flags[i] != found.flags[i])
      what = "it hides other things of lower layers than it should";
    if (what) return path_of(expected.inodes, i) + ": " + *what;
  }
  if (expected.inodes.size() != found.inodes.size())
    return fmt::format("it has {} files and directories, expected {}", found.inodes.size(),
                       expected.inodes.size());
  return std::nullopt;
}

}  // namespace runnel::convert
