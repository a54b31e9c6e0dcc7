// Trees for tests, and a way to compare trees with each other and with what a mount shows.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "erofs/tree.h"

namespace runnel::erofs::test {

// Adds an inode to `directory` under `name` and returns its index.
uint32_t add(Tree& tree, uint32_t directory, const std::string& name, Inode inode);
// Gives an inode that is there another name.
void link(Tree& tree, uint32_t directory, const std::string& name, uint32_t inode);

Inode directory(uint16_t permissions = 0755);
Inode file(uint64_t size, std::vector<Extent> extents = {});
Inode symlink(const std::string& target);
Buffer bytes_of(std::string_view text);

// A root directory and two devices of 1000 blocks.
Tree empty_tree();
// One of everything: each file type, hard links, xattrs of each kind, shared and large ones, names
// of every length and byte, directories of 1 and 10,000 entries, deep ones, sparse and large files.
Tree rich_tree();
// Up to 300 inodes, decided by the seed alone.
Tree random_tree(uint32_t seed);

// What stat, readlink and listxattr show of one file, as text.
struct Facts {
  uint16_t mode;
  uint32_t uid, gid, nlink, rdev;
  uint64_t size;  // of regular files
  int64_t mtime_s;
  uint32_t mtime_ns;
  std::string symlink_target;
  std::map<std::string, std::string> xattrs;
  std::string same_file_as;  // the first path of a hard-linked file, in path order
};
std::string to_text(const Facts& facts);

// Path -> facts of everything in the tree.
std::map<std::string, std::string> describe(const Tree& tree);
// Path -> extents of its regular files, neighbours joined and cut at the file's end.
std::map<std::string, std::string> describe_extents(const Tree& tree);
// Path -> inode index; the root is "/".
std::map<std::string, uint32_t> paths_of(const Tree& tree);

}  // namespace runnel::erofs::test
