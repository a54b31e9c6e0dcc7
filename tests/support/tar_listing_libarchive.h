// The listing of tar_listing.h as libarchive reads the archive.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/tar_listing.h"

namespace runnel::test {

class LibarchiveLister {
 public:
  // Ends in "error" like the others, with libarchive's reason behind it.
  std::string list(const std::string& path) {
    archive* reader = archive_read_new();
    archive_read_support_format_tar(reader);
    std::string listing;
    archive_entry* entry = nullptr;
    int outcome = archive_read_open_filename(reader, path.c_str(), 10240);
    while (usable(outcome) && usable(outcome = archive_read_next_header(reader, &entry)))
      listing += line(reader, entry) + "\n";
    if (outcome != ARCHIVE_EOF) listing += fmt::format("error {}\n", archive_error_string(reader));
    archive_read_free(reader);
    return listing;
  }

 private:
  // A warning: a name could not be converted to the locale's encoding, and comes as it is.
  static bool usable(int outcome) { return outcome == ARCHIVE_OK || outcome == ARCHIVE_WARN; }

  static std::string line(archive* reader, archive_entry* entry) {
    const mode_t mode = archive_entry_mode(entry);
    const char* hard_link = archive_entry_hardlink(entry);
    std::string out = fmt::format(
        "{} name={} mode={:o} uid={} gid={} mtime={}.{:09}", hard_link ? "hardlink" : type(mode),
        escaped(archive_entry_pathname(entry)), mode & 07777, archive_entry_uid(entry),
        archive_entry_gid(entry), archive_entry_mtime(entry), archive_entry_mtime_nsec(entry));
    if (hard_link) {
      out += " link=" + escaped(hard_link);
    } else if (S_ISLNK(mode)) {
      out += " link=" + escaped(archive_entry_symlink(entry));
    } else if (S_ISCHR(mode) || S_ISBLK(mode)) {
      out += fmt::format(" device={}:{}", archive_entry_rdevmajor(entry),
                         archive_entry_rdevminor(entry));
    } else if (S_ISREG(mode)) {
      const std::string content = content_of(reader, archive_entry_size(entry));
      out += fmt::format(" size={} crc={:08x}", content.size(), crc32(content));
    }
    return out + xattrs(entry);
  }

  static const char* type(mode_t mode) {
    switch (mode & S_IFMT) {
      case S_IFREG: return "regular";
      case S_IFDIR: return "directory";
      case S_IFLNK: return "symlink";
      case S_IFCHR: return "char";
      case S_IFBLK: return "block";
      case S_IFIFO: return "fifo";
      default: return "other";
    }
  }

  static std::string content_of(archive* reader, int64_t size) {
    std::string content(static_cast<size_t>(size), '\0');
    const void* data = nullptr;
    size_t length = 0;
    int64_t offset = 0;
    while (archive_read_data_block(reader, &data, &length, &offset) == ARCHIVE_OK)
      content.replace(static_cast<size_t>(offset), length, static_cast<const char*>(data), length);
    return content;
  }

  static std::string xattrs(archive_entry* entry) {
    std::vector<std::string> lines;
    const char* name = nullptr;
    const void* value = nullptr;
    size_t size = 0;
    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
      lines.push_back(" xattr=" + escaped(name) + "=" +
                      escaped({static_cast<const char*>(value), size}));
    std::ranges::sort(lines);
    std::string out;
    for (const auto& one : lines) out += one;
    return out;
  }
};

}  // namespace runnel::test
