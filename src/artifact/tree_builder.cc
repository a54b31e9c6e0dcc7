#include "artifact/tree_builder.h"

#include <sys/stat.h>

#include <algorithm>
#include <deque>

#include "artifact/acl.h"
#include "base/quote.h"

namespace runnel::artifact {

namespace {

using tar::EntryType;

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kOpaqueMarker = ".wh..wh..opq";
constexpr std::string_view kAccessAcl = "system.posix_acl_access";
constexpr std::string_view kDefaultAcl = "system.posix_acl_default";
constexpr std::string_view kCapability = "security.capability";
constexpr int kMaxLinks = 255;         // as containerd's path resolution
constexpr size_t kMaxSteps = 16384;    // of one path, with those of its links' targets
constexpr size_t kMaxPathSize = 4095;  // PATH_MAX without its NUL
constexpr uint32_t kMaxMajor = 0xfff;  // MAJOR and MINOR have 12 and 20 bits in Linux
constexpr uint32_t kMaxMinor = 0xfffff;
constexpr int64_t kLatest_s = 9'223'372'036;  // 2^63 - 1 nanoseconds after 1970

void split_into(std::string_view path, std::deque<std::string>& front) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const auto slash = path.find('/');
    const auto part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    path = slash == std::string_view::npos ? "" : path.substr(slash + 1);
  }
  front.insert(front.begin(), parts.begin(), parts.end());
}

std::string joined(const std::vector<std::string>& path) {
  return path.empty() ? "/" : fmt::format("/{}", fmt::join(path, "/"));
}

// The parts of an entry's name; empty for the root itself.
Result<std::vector<std::string>> parts_of(std::string_view name) {
  if (name.starts_with('/')) return fail(Code::kInvalid, "absolute name");
  if (name.size() > kMaxPathSize) return fail(Code::kInvalid, "name of {} bytes", name.size());
  if (name.find('\0') != std::string_view::npos) return fail(Code::kInvalid, "NUL in a name");
  std::deque<std::string> spelled;
  split_into(name, spelled);
  std::vector<std::string> parts;
  for (auto& part : spelled) {
    if (part == "..") {  // as in "a/../b"
      if (parts.empty()) return fail(Code::kInvalid, "its \"..\" leads out of the image");
      parts.pop_back();
      continue;
    }
    if (part.size() > erofs::kMaxNameSize) {
      return fail(Code::kInvalid, "name with a part of {} bytes", part.size());
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

Result<uint16_t> file_type_of(const tar::Entry& entry) {
  switch (entry.type) {
    case EntryType::kRegular:
      if (entry.size > erofs::kMaxFileSize) {
        return fail(Code::kUnsupported, "file of {} bytes", entry.size);
      }
      return S_IFREG;
    case EntryType::kDirectory: return S_IFDIR;
    case EntryType::kSymlink: return S_IFLNK;
    case EntryType::kCharDevice: return S_IFCHR;
    case EntryType::kBlockDevice: return S_IFBLK;
    case EntryType::kFifo: return S_IFIFO;
    default: return fail(Code::kInvalid, "entry of unknown type '{}'", entry.type_flag);
  }
}

bool is_whiteout_device(const tar::Entry& entry) {
  return entry.type == EntryType::kCharDevice && entry.dev_major == 0 && entry.dev_minor == 0;
}

std::pair<int64_t, uint32_t> bounded_time(const tar::Entry& entry) {
  if (entry.mtime_s < 0 || entry.mtime_s > kLatest_s) return {0, 0};
  return {entry.mtime_s, entry.mtime_ns};
}

Buffer* find_xattr(erofs::Inode& inode, std::string_view name) {
  for (auto& [key, value] : inode.xattrs) {
    if (key == name) return &value;
  }
  return nullptr;
}

void remove_xattr(erofs::Inode& inode, std::string_view name) {
  std::erase_if(inode.xattrs, [&](const auto& xattr) { return xattr.first == name; });
}

// chmod(2) on an inode that may have an access ACL.
Result<void> change_mode(erofs::Inode& inode, uint16_t permissions) {
  inode.mode = static_cast<uint16_t>((inode.mode & S_IFMT) | permissions);
  if (Buffer* acl = find_xattr(inode, kAccessAcl)) {
    RUNNEL_TRY(auto changed, acl_after_chmod(*acl, permissions));
    if (changed) {
      *acl = *std::move(changed);
    } else {
      remove_xattr(inode, kAccessAcl);
    }
  }
  return {};
}

}  // namespace

Result<bool> lies_on_device(const tar::Entry& entry) {
  if (entry.type != EntryType::kRegular) return false;
  RUNNEL_TRY(const auto path, parts_of(entry.name));
  return !path.empty() && !path.back().starts_with(kWhiteoutPrefix);
}

TreeBuilder::TreeBuilder() {
  tree_.inodes.emplace_back();
  tree_.inodes[0].mode = S_IFDIR | 0755;
  tree_.flags.push_back(0);
  children_.emplace_back();
  implied_below_.push_back(0);
}

Result<std::optional<uint32_t>> TreeBuilder::add(const tar::Entry& entry) {
  auto placed = place(entry);
  if (!placed)
    return std::unexpected(placed.error().in(fmt::format("entry {}", quote(entry.name))));
  return placed;
}

void TreeBuilder::set_extents(uint32_t inode, std::vector<erofs::Extent> extents) {
  tree_.inodes[inode].extents = std::move(extents);
}

Result<std::optional<uint32_t>> TreeBuilder::place(const tar::Entry& entry) {
  RUNNEL_TRY(Path path, parts_of(entry.name));
  if (path.empty()) return std::nullopt;
  const std::string base = path.back();
  path.pop_back();
  held_bytes_ += entry.name.size() + entry.link_name.size();
  for (const auto& [key, value] : entry.xattrs) held_bytes_ += key.size() + value.size();
  if (held_bytes_ > TreeLimits{}.max_bytes || tree_.inodes.size() >= TreeLimits{}.max_inodes) {
    return fail(Code::kExhausted, "the layer has too many names: {} files, {} bytes of names",
                tree_.inodes.size(), held_bytes_);
  }
  RUNNEL_TRY(path, resolve(path));
  if (path.size() >= TreeLimits{}.max_depth) {
    return fail(Code::kUnsupported, "{} directories below each other", path.size());
  }
  RUNNEL_TRY(const uint32_t parent, make_parents(path));

  if (base.starts_with(kWhiteoutPrefix)) {
    RUNNEL_DO(whiteout(parent, base));
    return std::nullopt;
  }
  auto existing = child(parent, base);
  if (is_whiteout_device(entry)) {
    if (existing) remove_child(parent, base, *existing);
    children_[parent][base] = kWhiteout;
    return std::nullopt;
  }
  const bool directory = entry.type == EntryType::kDirectory;
  if (existing && !(directory && *existing != kWhiteout && S_ISDIR(tree_.inodes[*existing].mode))) {
    remove_child(parent, base, *existing);
    existing.reset();
  }

  if (entry.type == EntryType::kGlobalHeader) return std::nullopt;

  uint32_t inode;
  if (entry.type == EntryType::kHardLink) {
    RUNNEL_TRY(inode, hard_link(entry));
  } else if (existing) {
    inode = *existing;
    if ((tree_.flags[inode] & kImplied) != 0) count_implied(parent, -1);
    tree_.flags[inode] &= static_cast<uint8_t>(~kImplied);
  } else {
    RUNNEL_TRY(const uint16_t type, file_type_of(entry));
    inode = make_inode(parent, type);
  }
  children_[parent][base] = inode;
  RUNNEL_DO(apply_attributes(inode, entry));
  if (directory) {
    path.push_back(base);
    directory_times_.emplace_back(std::move(path), bounded_time(entry));
  }
  if (entry.type != EntryType::kRegular) return std::nullopt;
  tree_.inodes[inode].size = entry.size;
  return inode;
}

// Follows symbolic links as inside a chroot of this layer alone; what does not exist stays as it
// is.
Result<TreeBuilder::Path> TreeBuilder::resolve(const Path& path) const {
  std::deque<std::string> rest(path.begin(), path.end());
  Path resolved;
  // What is at each prefix of `resolved`; nothing where no directory leads.
  std::vector<std::optional<uint32_t>> at = {0u};
  int links = 0;
  size_t steps = 0;
  while (!rest.empty()) {
    std::string part = std::move(rest.front());
    rest.pop_front();
    if (++steps > kMaxSteps) return fail(Code::kInvalid, "its path through links is too long");
    if (part == "..") {
      if (!resolved.empty()) {
        resolved.pop_back();
        at.pop_back();
      }
      continue;
    }
    const auto above = at.back();
    const bool inside =
        above && (at.size() == 1 || *above != kWhiteout) && S_ISDIR(tree_.inodes[*above].mode);
    const auto inode = inside ? child(*above, part) : std::nullopt;
    if (!inode || *inode == kWhiteout || !S_ISLNK(tree_.inodes[*inode].mode)) {
      resolved.push_back(std::move(part));
      at.push_back(inode);
      continue;
    }
    if (++links > kMaxLinks) return fail(Code::kInvalid, "too many symbolic links in its path");
    const std::string& target = tree_.inodes[*inode].symlink_target;
    if (target.starts_with('/')) {
      resolved.clear();
      at.resize(1);
    }
    split_into(target, rest);
  }
  return resolved;
}

std::optional<uint32_t> TreeBuilder::child(uint32_t directory, const std::string& name) const {
  const auto found = children_[directory].find(name);
  if (found == children_[directory].end()) return std::nullopt;
  return found->second;
}

std::optional<uint32_t> TreeBuilder::lookup(const Path& path) const {
  uint32_t inode = 0;
  for (const auto& part : path) {
    if (!S_ISDIR(tree_.inodes[inode].mode)) return std::nullopt;
    const auto next = child(inode, part);
    if (!next) return std::nullopt;
    if (*next == kWhiteout) return &part == &path.back() ? next : std::nullopt;
    inode = *next;
  }
  return inode;
}

Result<uint32_t> TreeBuilder::make_parents(const Path& path) {
  uint32_t inode = 0;
  for (const auto& part : path) {
    const auto next = child(inode, part);
    if (next && (*next == kWhiteout || !S_ISDIR(tree_.inodes[*next].mode))) {
      return fail(Code::kInvalid, "{} in its path is not a directory", quote(part));
    }
    if (next) {
      inode = *next;
      continue;
    }
    const uint32_t made = make_inode(inode, S_IFDIR);
    RUNNEL_DO(change_mode(tree_.inodes[made], 0755));
    if ((tree_.inodes[inode].mode & S_ISGID) != 0) tree_.inodes[made].gid = tree_.inodes[inode].gid;
    tree_.flags[made] = kImplied;
    count_implied(inode, 1);
    children_[inode][part] = made;
    inode = made;
  }
  return inode;
}

Result<void> TreeBuilder::whiteout(uint32_t parent, std::string_view base) {
  if (base == kOpaqueMarker) {
    if (implied_below_[parent] != 0) {
      return fail(Code::kInvalid,
                  "opaque marker after entries of a directory that no entry names: what it hides "
                  "would depend on the layer's place in the image");
    }
    if (parent != 0) tree_.flags[parent] |= kOpaque;
    return {};
  }
  const std::string name(base.substr(kWhiteoutPrefix.size()));
  if (name.empty() || name == "." || name == "..") return fail(Code::kInvalid, "bad whiteout name");
  const auto existing = child(parent, name);
  if (existing && *existing != kWhiteout) {
    return fail(Code::kInvalid,
                "whiteout of a name that the same layer has: the ordinary pull fails too");
  }
  children_[parent][name] = kWhiteout;
  return {};
}

void TreeBuilder::count_implied(uint32_t directory, int64_t change) {
  if (change == 0) return;
  for (;; directory = tree_.inodes[directory].parent) {
    implied_below_[directory] = static_cast<uint32_t>(implied_below_[directory] + change);
    if (directory == 0) return;
  }
}

void TreeBuilder::remove_child(uint32_t parent, const std::string& name, uint32_t inode) {
  if (inode != kWhiteout && S_ISDIR(tree_.inodes[inode].mode)) {
    const bool implied = (tree_.flags[inode] & kImplied) != 0;
    count_implied(parent, -(int64_t{implied_below_[inode]} + (implied ? 1 : 0)));
  }
  children_[parent].erase(name);
}

Result<uint32_t> TreeBuilder::hard_link(const tar::Entry& entry) const {
  const auto slash = entry.link_name.rfind('/');
  const std::string base =
      slash == std::string::npos ? entry.link_name : entry.link_name.substr(slash + 1);
  if (base.empty() || base == "." || base == "..") {
    return fail(Code::kInvalid, "hard link to {}", quote(entry.link_name));
  }
  std::deque<std::string> parts;
  if (slash != std::string::npos) split_into(entry.link_name.substr(0, slash), parts);
  RUNNEL_TRY(Path target, resolve(Path(parts.begin(), parts.end())));
  target.push_back(base);
  const auto inode = lookup(target);
  if (!inode || *inode == kWhiteout) {
    return fail(Code::kInvalid,
                "hard link to {}, which this layer does not have: the ordinary pull fails too "
                "(a hard link cannot reach into a lower layer)",
                quote(entry.link_name));
  }
  if (S_ISDIR(tree_.inodes[*inode].mode)) {
    return fail(Code::kInvalid, "hard link to the directory {}", quote(entry.link_name));
  }
  return *inode;
}

uint32_t TreeBuilder::make_inode(uint32_t parent, uint16_t mode) {
  const auto number = static_cast<uint32_t>(tree_.inodes.size());
  erofs::Inode inode;
  inode.mode = mode;
  if (!S_ISLNK(mode)) {
    if (const Buffer* acl = find_xattr(tree_.inodes[parent], kDefaultAcl)) {
      inode.xattrs.emplace_back(kAccessAcl, *acl);
      if (S_ISDIR(mode)) inode.xattrs.emplace_back(kDefaultAcl, *acl);
    }
  }
  tree_.inodes.push_back(std::move(inode));
  tree_.flags.push_back(0);
  tree_.inodes.back().parent = parent;
  children_.emplace_back();
  implied_below_.push_back(0);
  return number;
}

Result<void> TreeBuilder::apply_attributes(uint32_t number, const tar::Entry& entry) {
  erofs::Inode& inode = tree_.inodes[number];
  if (entry.uid >= UINT32_MAX || entry.gid >= UINT32_MAX) {  // -1 names nobody
    return fail(Code::kInvalid, "owner {}:{}", entry.uid, entry.gid);
  }
  inode.uid = static_cast<uint32_t>(entry.uid);
  inode.gid = static_cast<uint32_t>(entry.gid);
  if (!S_ISDIR(inode.mode)) remove_xattr(inode, kCapability);  // chown(2) clears it
  for (const auto& [name, value] : entry.xattrs) RUNNEL_DO(set_xattr(inode, name, value));
  if (S_ISLNK(inode.mode)) {
    inode.mode = S_IFLNK | 0777;
  } else {
    RUNNEL_DO(change_mode(inode, static_cast<uint16_t>(entry.mode & 07777)));
  }
  std::tie(inode.mtime_s, inode.mtime_ns) = bounded_time(entry);

  if (entry.type == EntryType::kSymlink) {
    if (entry.link_name.empty() || entry.link_name.size() > erofs::kMaxSymlinkSize ||
        entry.link_name.find('\0') != std::string::npos) {
      return fail(Code::kInvalid, "symbolic link with a target of {} bytes",
                  entry.link_name.size());
    }
    inode.symlink_target = entry.link_name;
  }
  if (entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice) {
    if (entry.dev_major > kMaxMajor || entry.dev_minor > kMaxMinor) {
      return fail(Code::kInvalid, "device number {}:{}", entry.dev_major, entry.dev_minor);
    }
    inode.rdev = erofs::encode_dev(entry.dev_major, entry.dev_minor);
  }
  return {};
}

Result<void> TreeBuilder::set_xattr(erofs::Inode& inode, const std::string& name,
                                    const Buffer& value) const {
  const bool file_or_directory = S_ISREG(inode.mode) || S_ISDIR(inode.mode);
  const bool acl = name == kAccessAcl || name == kDefaultAcl;
  const bool kept = (name.starts_with("user.") && file_or_directory) ||
                    name.starts_with("security.") || (acl && !S_ISLNK(inode.mode));
  if (!kept) return {};
  if (name.size() > 255 || value.size() > erofs::kMaxXattrValueSize) {
    return fail(Code::kInvalid, "xattr {} of {} bytes", name, value.size());
  }
  if (acl) {
    if (auto valid = acl_after_chmod(value, 0); !valid) return std::unexpected(valid.error());
    if (name == kDefaultAcl && !S_ISDIR(inode.mode)) {
      return fail(Code::kInvalid, "default ACL on something that is not a directory");
    }
  }
  remove_xattr(inode, name);
  const bool removes = acl && value.size() <= 4;
  if (inode.xattrs.size() >= TreeLimits{}.max_xattrs) {
    return fail(Code::kUnsupported, "more than {} xattrs", TreeLimits{}.max_xattrs);
  }
  if (!removes) inode.xattrs.emplace_back(name, value);
  return {};
}

Result<LayerTree> TreeBuilder::finish() {
  for (const auto& [path, mtime] : directory_times_) {
    RUNNEL_TRY(const Path resolved, resolve(path));
    const auto inode = lookup(resolved);
    if (!inode || *inode == kWhiteout) {
      return fail(Code::kInvalid, "entry {}: a later entry removed it: the ordinary pull fails too",
                  quote(joined(path)));
    }
    std::tie(tree_.inodes[*inode].mtime_s, tree_.inodes[*inode].mtime_ns) = mtime;
  }
  for (uint32_t i = 0; i < tree_.inodes.size(); ++i) {
    for (const auto& [name, inode] : children_[i]) {
      tree_.inodes[i].entries.push_back({.name = name, .inode = inode});
      if (inode != kWhiteout) tree_.inodes[inode].parent = i;
    }
    children_[i].clear();
  }
  return std::move(tree_);
}

}  // namespace runnel::artifact
