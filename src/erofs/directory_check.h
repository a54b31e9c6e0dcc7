// What the validator asks of a directory's entries.
//
// One block is looked at after the other, and all that is kept of those before is the last name: a
// directory may have all of a large image, and need no inodes for its names but one.
#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"
#include "erofs/reader.h"

namespace runnel::erofs {

class DirectoryCheck {
 public:
  // `directory` is one that check_node() accepted. The reader must outlive this.
  DirectoryCheck(const Reader& reader, const Node& directory, uint64_t parent)
      : reader_(reader),
        directory_(directory),
        parent_(parent),
        blocks_(div_up(directory.disk.size, kBlockSize)) {}

  bool at_end() const { return next_ == blocks_; }

  // Makes `entries` the next block's, without dots; not at the end. kInvalid unless all names so
  // far ascend and no byte behind a block's names is set; with the last block, unless "." is the
  // directory and ".." its parent, once each.
  Result<void> next(std::vector<Dirent>& entries);

 private:
  Result<void> check_end(Bytes block, std::string_view last_name) const;
  Result<void> check_order(const std::vector<Dirent>& entries);
  Result<void> take_dots(std::vector<Dirent>& entries);

  template <class... Args>
  std::unexpected<Error> bad(fmt::format_string<Args...> format, Args&&... args) const {
    return fail(Code::kInvalid, "erofs: inode {}: {}", directory_.nid,
                fmt::format(format, std::forward<Args>(args)...));
  }

  const Reader& reader_;
  const Node directory_;
  const uint64_t parent_;
  const uint64_t blocks_;
  uint64_t next_ = 0;
  std::string_view last_name_;
  size_t dots_ = 0;
};

}  // namespace runnel::erofs
