#include "snapshot/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace runnel::snapshot {

namespace {

// What the walk tells. Names are relative to the descriptor.
class Visitor {
 public:
  virtual ~Visitor() = default;
  // Every entry, directories before what is in them, the root first (as "." of itself).
  virtual void visit(int directory, const char* name, const struct stat& info) = 0;
  // A directory below the root whose entries were all visited.
  virtual void leave(int parent, const std::string& name) = 0;
};

class Walk {
 public:
  Walk(Visitor& visitor, const std::string& root) : visitor_(visitor), root_(root) {}

  Result<void> run() {
    const int fd = ::open(root_.c_str(), kOpenFlags);
    if (fd < 0) return errno == ENOENT ? Result<void>() : fail_errno("open {}", root_);
    current_ = UniqueFd(fd);
    RUNNEL_DO(enter(""));
    while (!levels_.empty()) RUNNEL_DO(levels_.back().children.empty() ? up() : down());
    return {};
  }

 private:
  static constexpr int kOpenFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

  struct Level {
    std::string name;
    dev_t device;
    ino_t inode;
    std::vector<std::string> children;  // directories still to enter
  };

  // `current_` was just opened: visits its entries and notes its directories.
  Result<void> enter(std::string name) {
    struct stat info;
    if (::fstat(current_.get(), &info) != 0) return fail_errno("stat below {}", root_);
    if (levels_.empty()) visitor_.visit(current_.get(), ".", info);
    Level level{
        .name = std::move(name), .device = info.st_dev, .inode = info.st_ino, .children = {}};
    UniqueFd listing(::openat(current_.get(), ".", kOpenFlags));
    if (!listing) return fail_errno("open below {}", root_);
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(listing.get()), ::closedir);
    if (!entries) return fail_errno("read below {}", root_);
    (void)listing.release();  // closedir closes it
    while (const dirent* entry = next(entries.get())) visit_entry(level, entry->d_name);
    if (errno != 0) return fail_errno("read below {}", root_);
    levels_.push_back(std::move(level));
    return {};
  }

  static const dirent* next(DIR* entries) {
    errno = 0;
    return ::readdir(entries);
  }

  void visit_entry(Level& level, const char* name) {
    if (std::string_view(name) == "." || std::string_view(name) == "..") return;
    struct stat info;
    if (::fstatat(current_.get(), name, &info, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (info.st_dev != level.device) return;  // something is mounted there
    visitor_.visit(current_.get(), name, info);
    if (S_ISDIR(info.st_mode)) level.children.emplace_back(name);
  }

  Result<void> down() {
    auto name = std::move(levels_.back().children.back());
    levels_.back().children.pop_back();
    const int fd = ::openat(current_.get(), name.c_str(), kOpenFlags);
    if (fd < 0) {
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return {};
      return fail_errno("open a directory below {}", root_);
    }
    current_ = UniqueFd(fd);
    return enter(std::move(name));
  }

  Result<void> up() {
    const auto left = std::move(levels_.back());
    levels_.pop_back();
    if (levels_.empty()) return {};
    UniqueFd parent(::openat(current_.get(), "..", kOpenFlags));
    if (!parent) return fail_errno("open the parent of a directory below {}", root_);
    struct stat info;
    if (::fstat(parent.get(), &info) != 0) return fail_errno("stat below {}", root_);
    if (info.st_dev != levels_.back().device || info.st_ino != levels_.back().inode) {
      return fail(Code::kUnavailable, "a directory below {} was moved meanwhile", root_);
    }
    current_ = std::move(parent);
    visitor_.leave(current_.get(), left.name);
    return {};
  }

  Visitor& visitor_;
  const std::string& root_;
  UniqueFd current_;
  std::vector<Level> levels_;
};

class Measure final : public Visitor {
 public:
  void visit(int, const char*, const struct stat& info) override {
    const bool linked = !S_ISDIR(info.st_mode) && info.st_nlink > 1;
    if (linked && !seen_.insert(info.st_ino).second) return;
    usage.bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    ++usage.inodes;
  }
  void leave(int, const std::string&) override {}

  Usage usage;

 private:
  std::set<ino_t> seen_;
};

class Removal final : public Visitor {
 public:
  void visit(int directory, const char* name, const struct stat& info) override {
    if (!S_ISDIR(info.st_mode)) unlink(directory, name, 0);
  }
  void leave(int parent, const std::string& name) override {
    unlink(parent, name.c_str(), AT_REMOVEDIR);
  }

  std::optional<Error> first;

 private:
  void unlink(int directory, const char* name, int flags) {
    if (::unlinkat(directory, name, flags) == 0 || errno == ENOENT || first) return;
    first = system_error(errno, "remove a file");
  }
};

}  // namespace

Result<Usage> disk_usage(const std::string& directory) {
  Measure measure;
  RUNNEL_DO(Walk(measure, directory).run());
  return measure.usage;
}

Result<void> remove_tree(const std::string& directory) {
  Removal removal;
  RUNNEL_DO(Walk(removal, directory).run());
  if (removal.first) return std::unexpected(removal.first->in(directory));
  if (::rmdir(directory.c_str()) != 0 && errno != ENOENT) return fail_errno("rmdir {}", directory);
  return {};
}

}  // namespace runnel::snapshot
