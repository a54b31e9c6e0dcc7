// The files of blobs that were opened before: a bounded memory, which saves opening them again.
//
// A file is given again only while it is the one that has the blob's name. Whoever removes,
// replaces or renames it, in whatever process, changes its count of links or its time of change,
// and that is looked at each time. A change shows only when the clock of the file system has gone
// on since the one before; so a file that changed within the last second is not kept.
#pragma once

#include <mutex>
#include <optional>
#include <unordered_map>

#include "blob/blob_store.h"

namespace runnel::blob {

// Any thread may call any method.
class OpenFiles {
 public:
  // Keeps at most `limit` (more than 0) files open.
  explicit OpenFiles(size_t limit) : limit_(limit) {}

  // The file of the blob, if it was kept and is still that.
  std::optional<FileContent> find(const oci::Digest& digest);
  // The blob's file, which was opened just now; and keeps it if its last change was before `now` by
  // more than a second.
  Result<FileContent> add(const oci::Digest& digest, UniqueFd file, WallTime now);
  // Closes it: its space is free when nobody reads it any more.
  void forget(const oci::Digest& digest);
  // Closes those that nobody has found since the last call, and those that are no blobs any more:
  // another process cannot free their space before that.
  void forget_unused();
  size_t size() const;

 private:
  struct Entry {
    FileContent content;
    WallTime changed;
    bool used = false;  // found since the last look for those that are not
  };

  static bool is_current(const Entry& entry);
  void make_room_locked();

  const size_t limit_;
  mutable std::mutex mutex_;
  std::unordered_map<oci::Digest, Entry> entries_;
};

}  // namespace runnel::blob
