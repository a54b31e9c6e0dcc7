// Xattrs as the writer stores them: what several inodes have alike goes once into a shared area (a
// label that every file carries costs four bytes a file), everything else stands behind its inode.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/tree.h"

namespace runnel::erofs {

class XattrStore {
 public:
  // First call this for every inode, in the order of writing. kInvalid or kUnsupported when EROFS
  // cannot hold one of its xattrs, or has a name twice.
  Result<void> count(const Inode& inode);
  // Then this once: decides what is shared.
  void place_shared();

  // Bytes behind the inode; 0 without xattrs. kUnsupported when it is more than the format can say.
  Result<uint64_t> body_size(const Inode& inode) const;
  // Writes the body; `at` has body_size() bytes, zeroed.
  void store_body(const Inode& inode, std::byte* at) const;

  Bytes shared_area() const { return shared_; }

 private:
  struct Entry {
    uint32_t uses = 0;
    uint32_t id = 0;
  };
  // An inode's encoded entries, those that are shared first.
  struct Body {
    std::vector<uint32_t> shared_ids;
    std::vector<std::string> inline_entries;
    uint64_t size() const;
  };

  bool is_shared(const Entry& entry) const { return placed_ && entry.uses > 1; }
  Body body_of(const Inode& inode) const;

  std::unordered_map<std::string, Entry> entries_;  // by encoded bytes
  std::vector<const std::string*> first_seen_;      // keys of entries_, which stay where they are
  Buffer shared_;
  bool placed_ = false;
};

}  // namespace runnel::erofs
