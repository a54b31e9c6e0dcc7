// Where two trees differ, for people.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "erofs/tree.h"

namespace runnel::convert {

// The first difference between what is expected and what is there: "/etc/passwd: its mode is 0600,
// expected 0644". Empty when there is none. Both are numbered from the root on in one order, as
// artifact::parse_layer_tree() and erofs::read_tree() do it; every directory is before what it
// holds. `flags` are those of layer trees, or both empty.
struct TreeView {
  const std::vector<erofs::Inode>& inodes;
  const std::vector<uint8_t>& flags;
};
std::optional<std::string> first_difference(const TreeView& expected, const TreeView& found);

}  // namespace runnel::convert
