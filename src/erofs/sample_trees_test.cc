#include "erofs/sample_trees.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <random>
#include <set>

#include "base/quote.h"
#include "erofs/plan.h"

namespace runnel::erofs::test {
namespace {

// user::rw-, group::r--, other::r--
const std::string kAcl(
    "\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x04\0\x04\0\xff\xff\xff\xff"
    "\x20\0\x04\0\xff\xff\xff\xff",
    28);

class RandomTree {
 public:
  explicit RandomTree(uint32_t seed) : random_(seed), tree_(empty_tree()) {}

  Tree make() {
    std::vector<uint32_t> directories = {0};
    std::vector<uint32_t> others;
    tree_.inodes[0].xattrs = xattrs(S_IFDIR);
    const uint32_t count = below(300);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t parent = directories[below(static_cast<uint32_t>(directories.size()))];
      if (!others.empty() && one_in(10)) {
        link(tree_, parent, fresh_name(parent),
             others[below(static_cast<uint32_t>(others.size()))]);
        continue;
      }
      Inode made = inode();
      const bool is_directory = S_ISDIR(made.mode);
      const uint32_t index = add(tree_, parent, fresh_name(parent), std::move(made));
      (is_directory ? directories : others).push_back(index);
    }
    return std::move(tree_);
  }

 private:
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  bool one_in(uint32_t n) { return below(n) == 0; }

  std::string fresh_name(uint32_t parent) {
    while (true) {
      std::string name(one_in(8) ? 1 + below(255) : 1 + below(12), '\0');
      for (char& c : name) {
        do c = static_cast<char>(one_in(4) ? below(256) : 'a' + below(3));
        while (c == '\0' || c == '/');
      }
      const auto& entries = tree_.inodes[parent].entries;
      if (name != "." && name != ".." &&
          std::ranges::find(entries, name, &DirEntry::name) == entries.end()) {
        return name;
      }
    }
  }

  std::vector<std::pair<std::string, Buffer>> xattrs(uint16_t mode) {
    std::vector<std::pair<std::string, Buffer>> made;
    if (!one_in(3)) return made;
    for (const char* name : {"user.a", "user.bb", "trusted.ccc", "security.selinux"}) {
      // The kernel has user xattrs on files and directories only.
      const bool may_have_it = S_ISREG(mode) || S_ISDIR(mode) || name[0] != 'u';
      if (!may_have_it || one_in(2)) continue;
      // Few different values, so that some are shared.
      made.emplace_back(name, Buffer(one_in(20) ? below(9000) : below(3) * 7,
                                     std::byte(static_cast<uint8_t>(below(3)))));
    }
    if (!S_ISLNK(mode) && one_in(3)) {
      made.emplace_back("system.posix_acl_access", bytes_of(kAcl));
    }
    return made;
  }

  Inode inode() {
    static constexpr uint16_t kTypes[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFLNK,
                                          S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK};
    Inode made;
    made.mode = static_cast<uint16_t>(kTypes[below(std::size(kTypes))] | below(010000));
    made.uid = one_in(2) ? below(1000) : static_cast<uint32_t>(random_());
    made.gid = one_in(2) ? below(1000) : static_cast<uint32_t>(random_());
    made.mtime_s = static_cast<int64_t>(random_()) - (int64_t{1} << 31);
    made.mtime_ns = below(1'000'000'000);
    made.xattrs = xattrs(made.mode);
    if (S_ISREG(made.mode)) fill_file(made);
    if (S_ISLNK(made.mode)) {
      made.symlink_target.assign(one_in(5) ? 1 + below(kMaxSymlinkSize) : 1 + below(40), 'x');
    }
    if (S_ISCHR(made.mode) || S_ISBLK(made.mode)) {
      made.rdev = encode_dev(below(4096), below(1 << 20));
    }
    return made;
  }

  void fill_file(Inode& made) {
    made.size = one_in(10) ? random_() % (uint64_t{1} << (10 + below(40))) : below(100 * 4096);
    const uint64_t unit = extent_unit_blocks(made.size);
    const uint64_t blocks = div_up(made.size, kBlockSize);
    if (blocks == 0) return;
    if (blocks <= 1000 && one_in(2)) {
      made.extents = {{0, below(static_cast<uint32_t>(1001 - blocks)), blocks, device()}};
      return;
    }
    if (unit > 1000) return;  // a hole from end to end
    for (uint64_t at = below(3) * unit; at < blocks; at += (1 + below(4)) * unit) {
      if (made.extents.size() > 20) break;
      made.extents.push_back({at, below(static_cast<uint32_t>(1001 - unit)), unit, device()});
    }
  }

  uint16_t device() { return static_cast<uint16_t>(1 + below(2)); }

  std::mt19937 random_;
  Tree tree_;
};

// Names of all lengths, and of all bytes that a name may have.
void add_names(Tree& tree, uint32_t parent) {
  for (size_t size = 1; size <= kMaxNameSize; ++size) {
    add(tree, parent, std::string(size, 'n'), file(0));
  }
  for (int byte = 1; byte < 256; ++byte) {
    if (byte == '/' || byte == '.' || byte == 'n') continue;
    add(tree, parent, std::string(1, static_cast<char>(byte)), file(0));
  }
  add(tree, parent, "...", file(0));
  add(tree, parent, ".hidden", file(0));
}

void add_xattrs(Tree& tree, uint32_t parent) {
  Inode directory_with_acl = directory();
  directory_with_acl.xattrs = {{"system.posix_acl_access", bytes_of(kAcl)},
                               {"system.posix_acl_default", bytes_of(kAcl)},
                               {"user.empty", {}}};
  add(tree, parent, "acl", directory_with_acl);

  for (int i = 0; i < 5; ++i) {
    Inode labelled = file(0);
    labelled.xattrs = {{"security.selinux", bytes_of("system_u:object_r:bin_t:s0")},
                       {"user.own", bytes_of(std::to_string(i))},
                       {"trusted.t", bytes_of("trusted")}};
    add(tree, parent, "labelled" + std::to_string(i), labelled);
  }
  Inode large = file(4096, {{0, 7, 1, 1}});
  large.xattrs = {{"user.large", Buffer(60000, std::byte{'v'})},
                  {"user." + std::string(250, 'k'), bytes_of("long name")},
                  {"security.capability",
                   bytes_of(std::string("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20))}};
  add(tree, parent, "large", large);
  Inode link_with_xattrs = symlink(std::string(4000, 't'));
  link_with_xattrs.xattrs = {{"trusted.on-a-symlink", bytes_of("x")}};
  add(tree, parent, "symlink", link_with_xattrs);
}

void add_files(Tree& tree, uint32_t parent) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  add(tree, parent, "one-byte", file(1, {{0, 3, 1, 1}}));
  add(tree, parent, "exact-block", file(4096, {{0, 4, 1, 2}}));
  add(tree, parent, "dense", file(100 * 4096 - 5, {{0, 20, 100, 1}}));
  add(tree, parent, "all-hole", file(10 * 4096 + 1));
  add(tree, parent, "sparse", file(20 * 4096, {{2, 500, 3, 1}, {5, 503, 1, 1}, {9, 0, 2, 2}}));
  add(tree, parent, "two-devices", file(8 * 4096, {{0, 8, 4, 1}, {4, 40, 4, 2}}));
  const uint64_t unit = extent_unit_blocks(6 * kGiB + 123);
  add(tree, parent, "huge-sparse",
      file(6 * kGiB + 123, {{unit, 100, unit, 2},
                            {4000 * unit, 100 + unit, 2 * unit, 2},
                            {6144 * unit, 100, unit, 2}}));
  add(tree, parent, "huge-dense", file(5 * kGiB - 1, {{0, 50, 5 * kGiB / 4096, 3}}));
  add(tree, parent, "petabytes", file(kMaxFileSize));
}

void add_specials(Tree& tree, uint32_t parent) {
  const auto special = [&](const char* name, uint16_t type, uint32_t rdev) {
    Inode made;
    made.mode = type | 0640;
    made.rdev = rdev;
    add(tree, parent, name, made);
  };
  special("char", S_IFCHR, encode_dev(1, 3));
  special("whiteout", S_IFCHR, 0);
  special("block", S_IFBLK, encode_dev(4095, 0xfffff));
  special("fifo", S_IFIFO, 0);
  special("socket", S_IFSOCK, 0);
  add(tree, parent, "short-link", symlink("a"));
  add(tree, parent, "long-link", symlink(std::string(kMaxSymlinkSize, 'l')));
  Inode odd = file(0);
  odd.mode = S_IFREG | 07777;
  odd.uid = 0xfffffffe;
  odd.gid = 4'000'000'000;
  odd.mtime_s = -5'000'000'000;
  odd.mtime_ns = 999'999'999;
  add(tree, parent, "odd", odd);
}

}  // namespace

uint32_t add(Tree& tree, uint32_t directory, const std::string& name, Inode inode) {
  const auto index = static_cast<uint32_t>(tree.inodes.size());
  if (S_ISDIR(inode.mode)) inode.parent = directory;
  tree.inodes.push_back(std::move(inode));
  link(tree, directory, name, index);
  return index;
}

void link(Tree& tree, uint32_t directory, const std::string& name, uint32_t inode) {
  tree.inodes[directory].entries.push_back({name, inode});
}

Inode directory(uint16_t permissions) {
  Inode inode;
  inode.mode = static_cast<uint16_t>(S_IFDIR | permissions);
  inode.mtime_s = 1'700'000'000;
  return inode;
}

Inode file(uint64_t size, std::vector<Extent> extents) {
  Inode inode;
  inode.mode = S_IFREG | 0644;
  inode.mtime_s = 1'700'000'001;
  inode.mtime_ns = 123'456'789;
  inode.size = size;
  inode.extents = std::move(extents);
  return inode;
}

Inode symlink(const std::string& target) {
  Inode inode;
  inode.mode = S_IFLNK | 0777;
  inode.symlink_target = target;
  return inode;
}

Buffer bytes_of(std::string_view text) {
  const Bytes bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

Tree empty_tree() {
  Tree tree;
  tree.inodes.push_back(directory());
  tree.devices = {{1000, "first"}, {1000, std::string(64, 'd')}};
  return tree;
}

Tree rich_tree() {
  Tree tree = empty_tree();
  tree.devices.push_back({1'400'000, "large"});
  add_names(tree, add(tree, 0, "names", directory()));
  add_xattrs(tree, add(tree, 0, "xattrs", directory()));
  add_files(tree, add(tree, 0, "files", directory()));
  add_specials(tree, add(tree, 0, "specials", directory(01777)));

  const uint32_t many = add(tree, 0, "many", directory());
  for (int i = 0; i < 10'000; ++i) add(tree, many, "entry-" + std::to_string(i), file(0));
  add(tree, 0, "none", directory());
  const uint32_t full_block = add(tree, 0, "full-block", directory());  // 4079 bytes of entries
  for (char c = 'a'; c < 'p'; ++c) add(tree, full_block, std::string(254, c), file(0));
  add(tree, full_block, std::string(50, 'q'), file(0));
  uint32_t deep = add(tree, 0, "deep", directory());
  for (int i = 0; i < 300; ++i) deep = add(tree, deep, std::to_string(i), directory());

  const uint32_t shared = add(tree, deep, "hard-linked", file(4096, {{0, 9, 1, 1}}));
  link(tree, many, "hard-linked", shared);
  link(tree, 0, "!before-the-dots", shared);
  return tree;
}

Tree random_tree(uint32_t seed) {
  return RandomTree(seed).make();
}

std::string to_text(const Facts& facts) {
  std::string text =
      fmt::format("{:o} {}:{} links {} dev {:x} size {} time {}.{:09} same {}", facts.mode,
                  facts.uid, facts.gid, facts.nlink, facts.rdev, facts.size, facts.mtime_s,
                  facts.mtime_ns, quote(facts.same_file_as));
  if (!facts.symlink_target.empty()) text += " -> " + quote(facts.symlink_target);
  for (const auto& [name, value] : facts.xattrs) {
    text += fmt::format(" {}={}", name, to_hex(as_bytes(value)));
  }
  return text;
}

std::map<std::string, uint32_t> paths_of(const Tree& tree) {
  std::map<std::string, uint32_t> paths = {{"/", 0}};
  std::vector<std::pair<std::string, uint32_t>> waiting = {{"", 0}};
  while (!waiting.empty()) {
    const auto [prefix, index] = waiting.back();
    waiting.pop_back();
    for (const DirEntry& entry : tree.inodes[index].entries) {
      const std::string path = prefix + "/" + entry.name;
      paths[path] = entry.inode;
      if (S_ISDIR(tree.inodes[entry.inode].mode)) waiting.emplace_back(path, entry.inode);
    }
  }
  return paths;
}

std::map<std::string, std::string> describe(const Tree& tree) {
  const auto paths = paths_of(tree);
  std::vector<uint32_t> links(tree.inodes.size());
  std::vector<std::string> first_path(tree.inodes.size());
  for (const auto& [path, index] : paths) {
    if (links[index]++ == 0) first_path[index] = path;
  }

  std::map<std::string, std::string> described;
  for (const auto& [path, index] : paths) {
    const Inode& inode = tree.inodes[index];
    Facts facts{inode.mode,
                inode.uid,
                inode.gid,
                links[index],
                0,
                0,
                inode.mtime_s,
                inode.mtime_ns,
                inode.symlink_target,
                {},
                first_path[index]};
    if (S_ISDIR(inode.mode)) {
      facts.nlink = 2 + static_cast<uint32_t>(
                            std::ranges::count_if(inode.entries, [&](const DirEntry& entry) {
                              return S_ISDIR(tree.inodes[entry.inode].mode);
                            }));
    }
    if (S_ISREG(inode.mode)) facts.size = inode.size;
    if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode)) facts.rdev = inode.rdev;
    for (const auto& [name, value] : inode.xattrs) facts.xattrs[name] = as_text(value);
    described[path] = to_text(facts);
  }
  return described;
}

std::map<std::string, std::string> describe_extents(const Tree& tree) {
  std::map<std::string, std::string> described;
  for (const auto& [path, index] : paths_of(tree)) {
    const Inode& inode = tree.inodes[index];
    if (!S_ISREG(inode.mode)) continue;
    std::vector<Extent> joined;
    for (Extent extent : inode.extents) {
      extent.blocks = std::min(extent.blocks, div_up(inode.size, kBlockSize) - extent.file_block);
      if (!joined.empty() && joined.back().device == extent.device &&
          joined.back().file_block + joined.back().blocks == extent.file_block &&
          joined.back().device_block + joined.back().blocks == extent.device_block) {
        joined.back().blocks += extent.blocks;
      } else {
        joined.push_back(extent);
      }
    }
    std::string text;
    for (const Extent& extent : joined) {
      text += fmt::format("{}+{}@{}:{} ", extent.file_block, extent.blocks, extent.device,
                          extent.device_block);
    }
    described[path] = text;
  }
  return described;
}

TEST(SampleTrees, CoverTheShapesThatTheFormatHas) {
  const Tree tree = rich_tree();
  auto plan = Plan::make(tree).value();

  std::set<std::pair<uint32_t, Layout>> seen;
  for (const uint32_t index : plan.order()) {
    seen.emplace(tree.inodes[index].mode & S_IFMT, plan.shape_of(index).value().layout);
  }

  for (const auto& shape :
       std::initializer_list<std::pair<uint32_t, Layout>>{{S_IFDIR, Layout::kFlatPlain},
                                                          {S_IFDIR, Layout::kFlatInline},
                                                          {S_IFLNK, Layout::kFlatPlain},
                                                          {S_IFLNK, Layout::kFlatInline},
                                                          {S_IFREG, Layout::kFlatPlain},
                                                          {S_IFREG, Layout::kChunkBased},
                                                          {S_IFCHR, Layout::kFlatPlain},
                                                          {S_IFBLK, Layout::kFlatPlain},
                                                          {S_IFIFO, Layout::kFlatPlain},
                                                          {S_IFSOCK, Layout::kFlatPlain}}) {
    EXPECT_TRUE(seen.contains(shape)) << std::oct << shape.first;
  }
  EXPECT_FALSE(plan.xattrs().shared_area().empty());
}

}  // namespace runnel::erofs::test
