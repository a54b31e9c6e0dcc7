// The kernel as oracle: what it shows of a mounted image is what was put in. And fsck.erofs, which
// must find nothing wrong. Both need what not every machine has; the tests say so and are skipped.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>

#include "base/fd.h"
#include "base/quote.h"
#include "erofs/format.h"
#include "erofs/sample_trees.h"
#include "erofs/validator.h"
#include "erofs/writer.h"
#include "support/temp_dir.h"

namespace runnel::erofs {
namespace {

// What the test devices hold: the first blocks and every 1000th say where they are, all other
// blocks are zeros (so that a device of gigabytes is a small sparse file).
std::string device_block(uint16_t device, uint64_t block) {
  std::string content(kBlockSize, '\0');
  if (block >= 1200 && block % 1000 != 0) return content;
  const std::string mark = fmt::format("device {} block {} ", device, block);
  for (size_t at = 0; at < content.size(); ++at) content[at] = mark[at % mark.size()];
  return content;
}

void write_device(const std::string& path, uint16_t device, uint64_t blocks) {
  const auto fd = open_file(path, O_CREAT | O_RDWR);
  ASSERT_TRUE(fd);
  ASSERT_EQ(::ftruncate(fd->get(), static_cast<off_t>(blocks * kBlockSize)), 0);
  for (uint64_t block = 0; block < blocks; block += block < 1199 ? 1 : 1000 - block % 1000) {
    ASSERT_TRUE(write_all_at(fd->get(), as_bytes(device_block(device, block)), block * kBlockSize));
  }
}

class LoopDevice {
 public:
  explicit LoopDevice(const std::string& file) {
    const auto control = open_file("/dev/loop-control", O_RDWR);
    const auto backing = open_file(file, O_RDONLY);
    if (!control || !backing) return;
    for (int attempt = 0; attempt < 100 && !fd_; ++attempt) {
      const int number = ::ioctl(control->get(), LOOP_CTL_GET_FREE);
      path_ = "/dev/loop" + std::to_string(number);
      auto fd = open_file(path_, O_RDONLY);
      if (!fd) return;
      loop_config config{};
      config.fd = static_cast<uint32_t>(backing->get());
      config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
      // Another process may have taken the number meanwhile.
      if (::ioctl(fd->get(), LOOP_CONFIGURE, &config) == 0) fd_ = std::move(*fd);
    }
  }

  explicit operator bool() const { return static_cast<bool>(fd_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  UniqueFd fd_;  // the loop device clears itself when this and the mount are gone
};

// An image and its devices as files in a temporary directory.
class ImageFiles {
 public:
  explicit ImageFiles(const Tree& tree) : ImageFiles(write_image(tree).value_or(Buffer())) {}
  explicit ImageFiles(const Buffer& image) {
    const auto summary = validate(image);
    if (!summary) return;
    const auto fd = open_file(directory() + "/image", O_CREAT | O_RDWR);
    if (!fd || !write_all(fd->get(), image)) return;
    paths_.push_back(directory() + "/image");
    for (size_t i = 0; i < summary->devices.size(); ++i) {
      paths_.push_back(directory() + "/device" + std::to_string(i));
      write_device(paths_.back(), static_cast<uint16_t>(i + 1), summary->devices[i].blocks);
    }
  }

  const std::string& directory() const { return directory_.path(); }
  // The image first; empty when it was not written or is not valid.
  const std::vector<std::string>& paths() const { return paths_; }

 private:
  ::runnel::test::TempDir directory_;
  std::vector<std::string> paths_;
};

class Mount {
 public:
  // `source` is a tree or an image.
  Mount(const auto& source, bool loop) : files_(source) {
    std::vector<std::string> paths = files_.paths();
    for (std::string& file : paths) {
      if (!loop) break;
      loops_.emplace_back(file);
      if (!loops_.back()) {
        fail_with("no loop device");
        return;
      }
      file = loops_.back().path();
    }
    if (paths.empty()) {
      fail_with("no valid image");
    } else {
      mount(paths);
    }
  }
  ~Mount() {
    if (error_.empty()) ::umount2(path().c_str(), MNT_DETACH);
  }
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  const std::string& error() const { return error_; }
  std::string path() const { return files_.directory() + "/mnt"; }

 private:
  void fail_with(const std::string& what) { error_ = what + ": " + std::strerror(errno); }

  void mount(const std::vector<std::string>& paths) {
    const UniqueFd context(::fsopen("erofs", FSOPEN_CLOEXEC));
    if (!context) return fail_with("fsopen");
    const auto set = [&](const char* key, const std::string& value) {
      return ::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) == 0;
    };
    if (!set("source", paths[0])) return fail_with("source");
    // Otherwise the kernel wants to open a loop device for writing.
    if (::fsconfig(context.get(), FSCONFIG_SET_FLAG, "ro", nullptr, 0) != 0) {
      return fail_with("ro");
    }
    for (size_t i = 1; i < paths.size(); ++i) {
      if (!set("device", paths[i])) return fail_with("device");
    }
    if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
      return fail_with("create");
    }
    const UniqueFd mounted(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
    if (!mounted) return fail_with("fsmount");
    std::filesystem::create_directory(path());
    if (::move_mount(mounted.get(), "", AT_FDCWD, path().c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
      return fail_with("move_mount");
    }
  }

  ImageFiles files_;
  std::vector<LoopDevice> loops_;
  std::string error_;
};

std::map<std::string, std::string> xattrs_of(const std::string& path) {
  std::string names(65536, '\0');
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  EXPECT_GE(size, 0) << quote(path);
  names.resize(size < 0 ? 0 : static_cast<size_t>(size));

  std::map<std::string, std::string> xattrs;
  for (size_t at = 0; at < names.size();) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    std::string value(65536, '\0');
    const ssize_t got = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    EXPECT_GE(got, 0) << quote(path) << " " << name;
    value.resize(got < 0 ? 0 : static_cast<size_t>(got));
    EXPECT_TRUE(xattrs.emplace(name, value).second) << "listed twice: " << name;
  }
  return xattrs;
}

// What the mount shows, in the words of test::describe().
class MountedTree {
 public:
  explicit MountedTree(std::string root) : root_(std::move(root)) {}

  std::map<std::string, std::string> describe() {
    std::map<std::string, struct stat> found;
    find("", found);
    std::map<uint64_t, std::string> first_path;
    std::map<std::string, std::string> described;
    for (const auto& [path, info] : found) {
      first_path.try_emplace(info.st_ino, path);
      described[path] = test::to_text(facts_of(path, info, first_path[info.st_ino]));
    }
    return described;
  }

 private:
  void find(const std::string& relative, std::map<std::string, struct stat>& found) {
    struct stat info{};
    ASSERT_EQ(::lstat((root_ + relative).c_str(), &info), 0) << quote(relative);
    found[relative.empty() ? "/" : relative] = info;
    if (!S_ISDIR(info.st_mode)) return;
    for (const auto& entry : std::filesystem::directory_iterator(root_ + relative)) {
      find(relative + "/" + entry.path().filename().native(), found);
    }
  }

  test::Facts facts_of(const std::string& path, const struct stat& info,
                       const std::string& first_path) {
    test::Facts facts{};
    facts.mode = static_cast<uint16_t>(info.st_mode);
    facts.uid = info.st_uid;
    facts.gid = info.st_gid;
    facts.nlink = static_cast<uint32_t>(info.st_nlink);
    facts.mtime_s = info.st_mtim.tv_sec;
    facts.mtime_ns = static_cast<uint32_t>(info.st_mtim.tv_nsec);
    if (S_ISREG(info.st_mode)) facts.size = static_cast<uint64_t>(info.st_size);
    if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) {
      facts.rdev = encode_dev(major(info.st_rdev), minor(info.st_rdev));
    }
    if (S_ISLNK(info.st_mode)) {
      facts.symlink_target = std::filesystem::read_symlink(root_ + path).native();
    }
    facts.xattrs = xattrs_of(root_ + path);
    facts.same_file_as = first_path;
    return facts;
  }

  std::string root_;
};

// The file's block, as its extents and the devices' contents say.
std::string expected_block(const Inode& file, uint64_t block) {
  std::string content(kBlockSize, '\0');
  for (const Extent& extent : file.extents) {
    if (block < extent.file_block || block >= extent.file_block + extent.blocks) continue;
    content = device_block(extent.device, extent.device_block + block - extent.file_block);
  }
  content.resize(std::min(kBlockSize, file.size - block * kBlockSize));
  return content;
}

// Reads small files whole, and of large ones the blocks around every boundary and some between.
void expect_same_content(const Tree& tree, const std::string& root) {
  for (const auto& [path, index] : test::paths_of(tree)) {
    const Inode& file = tree.inodes[index];
    if (!S_ISREG(file.mode) || file.size == 0) continue;
    const uint64_t blocks = div_up(file.size, kBlockSize);
    std::set<uint64_t> interesting = {0, 1, blocks - 1, blocks / 2};
    for (const Extent& extent : file.extents) {
      const uint64_t end = extent.file_block + extent.blocks;
      interesting.insert({extent.file_block - 1, extent.file_block, end - 1, end});
    }
    for (uint64_t i = 0; i < 3000; ++i)
      interesting.insert(blocks <= 3000 ? i : i * (blocks / 3000));

    const auto fd = open_file(root + path, O_RDONLY);
    ASSERT_TRUE(fd) << quote(path);
    for (const uint64_t block : interesting) {
      if (block >= blocks) continue;
      Buffer read(kBlockSize);
      const auto size = read_up_to_at(fd->get(), read, block * kBlockSize);
      ASSERT_TRUE(size) << quote(path) << " block " << block << ": " << size.error().message;
      ASSERT_EQ(as_text(Bytes(read).first(*size)), expected_block(file, block))
          << quote(path) << " block " << block;
    }
  }
}

void expect_kernel_shows(const Tree& tree, bool loop) {
  const Mount mount(tree, loop);
  ASSERT_EQ(mount.error(), "");

  const auto expected = test::describe(tree);
  const auto shown = MountedTree(mount.path()).describe();
  EXPECT_EQ(shown.size(), expected.size());
  for (const auto& [path, facts] : expected) {
    const auto at = shown.find(path);
    ASSERT_NE(at, shown.end()) << quote(path);
    ASSERT_EQ(at->second, facts) << quote(path);
  }
  expect_same_content(tree, mount.path());
}

#define SKIP_UNLESS_MOUNTABLE(loop)                                                          \
  if (const Mount probe(test::empty_tree(), loop); !probe.error().empty()) {                 \
    GTEST_SKIP() << "skipped: needs root and a kernel that mounts EROFS: " << probe.error(); \
  }

TEST(Kernel, ShowsWhatWasWrittenFileBacked) {
  SKIP_UNLESS_MOUNTABLE(false);
  expect_kernel_shows(test::rich_tree(), false);
}

TEST(Kernel, ShowsWhatWasWrittenOverLoopDevices) {
  SKIP_UNLESS_MOUNTABLE(true);
  expect_kernel_shows(test::rich_tree(), true);
}

TEST(Kernel, ShowsRandomTrees) {
  SKIP_UNLESS_MOUNTABLE(false);
  for (uint32_t seed = 1000; seed < 1030; ++seed) {
    SCOPED_TRACE(seed);
    expect_kernel_shows(test::random_tree(seed), false);
    if (HasFailure()) return;
  }
}

// Opens, lists and reads the links of everything below; every error is a failure.
void expect_walkable(const std::string& path) {
  struct stat info{};
  ASSERT_EQ(::lstat(path.c_str(), &info), 0) << quote(path) << ": " << std::strerror(errno);
  EXPECT_GE(::llistxattr(path.c_str(), nullptr, 0), 0) << quote(path);
  std::error_code error;
  if (S_ISLNK(info.st_mode)) EXPECT_FALSE(std::filesystem::read_symlink(path, error).empty());
  if (S_ISREG(info.st_mode)) EXPECT_TRUE(open_file(path, O_RDONLY)) << quote(path);
  if (S_ISDIR(info.st_mode)) {
    for (std::filesystem::directory_iterator at(path, error), end; !error && at != end;
         at.increment(error)) {
      expect_walkable(path + "/" + at->path().filename().native());
    }
  }
  EXPECT_FALSE(error) << quote(path) << ": " << error.message();
}

TEST(Kernel, WalksWhateverTheValidatorAccepts) {
  SKIP_UNLESS_MOUNTABLE(false);
  std::mt19937 random(7);
  int accepted = 0;
  for (uint32_t round = 0; round < 20'000 && accepted < 100; ++round) {
    const Buffer original = write_image(test::random_tree(round % 50)).value();
    Buffer image = original;
    for (int i = 0; i < 3; ++i) {
      // Where something is: a bit in the empty rest of a block is always refused.
      const size_t span = image.size() - kSuperblockAt;
      size_t at = random() % span;
      while (image[kSuperblockAt + at] == std::byte{0}) at = (at + 1) % span;
      image[kSuperblockAt + at] ^= static_cast<std::byte>(1 << random() % 8);
    }
    store_le(image.data() + kSuperblockAt + 4, superblock_checksum(Bytes(image).first(kBlockSize)));
    if (!validate(image)) continue;

    ++accepted;
    const Mount mount(image, false);
    ASSERT_EQ(mount.error(), "") << "round " << round;
    expect_walkable(mount.path());
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
  EXPECT_EQ(accepted, 100);
}

// ---- fsck.erofs ----

// Runs fsck.erofs on the files with these options before them; its exit code, and what it said.
int fsck(const ImageFiles& files, const std::string& options, std::string& said) {
  std::string command = "fsck.erofs " + options;
  for (size_t i = 1; i < files.paths().size(); ++i) command += " --device=" + files.paths()[i];
  const std::string output = files.directory() + "/fsck-output";
  command += " " + files.paths()[0] + " >" + output + " 2>&1";
  const int status = std::system(command.c_str());
  const auto read = read_file(output, 1 << 20);
  said = read ? std::string(as_text(*read)) : "";
  return WEXITSTATUS(status);
}

bool has_fsck() {
  return std::system("command -v fsck.erofs >/dev/null") == 0;
}

TEST(FsckErofs, FindsNothingWrong) {
  if (!has_fsck()) GTEST_SKIP() << "skipped: needs fsck.erofs";
  std::string said;

  const ImageFiles rich(test::rich_tree());
  ASSERT_FALSE(rich.paths().empty());
  EXPECT_EQ(fsck(rich, "", said), 0) << said;

  for (uint32_t seed = 2000; seed < 2020; ++seed) {
    const ImageFiles random(test::random_tree(seed));
    ASSERT_FALSE(random.paths().empty());
    EXPECT_EQ(fsck(random, "", said), 0) << "seed " << seed << ": " << said;
  }
}

// Without sparse files: version 1.5 leaves out their holes when it extracts.
TEST(FsckErofs, ExtractsEveryFileWithItsContent) {
  if (!has_fsck()) GTEST_SKIP() << "skipped: needs fsck.erofs";
  Tree tree = test::empty_tree();
  const uint32_t directory = test::add(tree, 0, "d", test::directory());
  for (uint32_t i = 0; i < 200; ++i) {
    const uint64_t blocks = 1 + i % 5;
    test::add(
        tree, directory, std::to_string(i),
        test::file(blocks * kBlockSize - i, {{0, i, blocks, static_cast<uint16_t>(1 + i % 2)}}));
  }
  const ImageFiles files(tree);
  ASSERT_FALSE(files.paths().empty());
  const std::string out = files.directory() + "/out";
  std::string said;

  ASSERT_EQ(fsck(files, "--extract=" + out, said), 0) << said;

  expect_same_content(tree, out);
}

}  // namespace
}  // namespace runnel::erofs
