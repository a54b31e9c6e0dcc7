// Archives that GNU tar makes of a real tree, read by us and by other programs: Go's archive/tar
// (what containerd uses), Python's tarfile and libarchive. All must read the same.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/tar_listing.h"
#include "support/temp_dir.h"
#ifdef RUNNEL_HAVE_LIBARCHIVE
#include "support/tar_listing_libarchive.h"
#endif

namespace runnel::tar {
namespace {

namespace fs = std::filesystem;

struct Output {
  int status;
  std::string text;
};

// Runs a shell command; what it prints to its standard error goes to ours.
Output run(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  RUNNEL_CHECK(pipe != nullptr);
  Output output;
  char buffer[4096];
  for (size_t size; (size = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    output.text.append(buffer, size);
  output.status = ::pclose(pipe);
  return output;
}

bool is_there(const std::string& command) {
  return run(command + " >/dev/null 2>&1").status == 0;
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream all;
  all << file.rdbuf();
  return all.str();
}

void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

void set_mtime(const std::string& path, time_t seconds, long nanoseconds) {
  const timespec times[2] = {{0, UTIME_OMIT}, {seconds, nanoseconds}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
}

// What every dialect can say.
void make_plain_tree(const std::string& root) {
  fs::create_directory(root);
  for (const size_t size : {0, 1, 511, 512, 513, 1024, 100'000})
    write_file(fmt::format("{}/size-{}", root, size), std::string(size, 's'));
  for (const size_t size : {90, 94, 95}) write_file(root + "/" + std::string(size, 'n'), "name");
  fs::create_directories(root + "/setgid/sticky");
  ::chmod((root + "/setgid").c_str(), 02755);
  ::chmod((root + "/setgid/sticky").c_str(), 01777);
  write_file(root + "/setuid", "program");
  ::chmod((root + "/setuid").c_str(), 04711);
  fs::create_hard_link(root + "/size-1", root + "/z-hard-link");
  fs::create_symlink("size-1", root + "/symlink");
  write_file(root + "/caf\xc3\xa9", "name in UTF-8");
  write_file(root + "/with space %", "name");
  for (const auto& entry : fs::recursive_directory_iterator(root))
    set_mtime(entry.path(), 1700000000, 0);
  set_mtime(root, 1700000000, 0);
}

// What GNU and POSIX can say beyond that.
void make_rich_tree(const std::string& root) {
  make_plain_tree(root);
  const std::string deep = root + "/" + std::string(120, 'd') + "/" + std::string(200, 'e');
  fs::create_directories(deep);
  write_file(deep + "/" + std::string(250, 'f'), "a long name");
  write_file(root + "/" + std::string(98, 'g'), "a name around the limit");
  for (const size_t size : {99, 100, 101, 300})
    fs::create_symlink(std::string(size, 't'), fmt::format("{}/symlink-{}", root, size));
  write_file(root + "/\xff\xfe", "a name in no encoding");
  write_file(root + "/before-1970", "");
  set_mtime(root + "/before-1970", -100, 0);
  ::mkfifo((root + "/fifo").c_str(), 0600);
  if (::geteuid() != 0) return;
  write_file(root + "/uid", "");
  EXPECT_EQ(::chown((root + "/uid").c_str(), 4'000'000'000, 3'000'000), 0);
  EXPECT_EQ(::mknod((root + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  EXPECT_EQ(::mknod((root + "/disk").c_str(), S_IFBLK | 0660, makedev(259, 1000)), 0);
}

void make_sparse_tree(const std::string& root) {
  fs::create_directory(root);
  const auto sparse = [&](const char* name, size_t size, std::initializer_list<size_t> parts) {
    std::string content(size, '\0');
    for (const size_t at : parts) content.replace(at, 5, "part!");
    write_file(root + "/" + name, content);
  };
  sparse("all-hole", 1'000'000, {});
  sparse("hole-first", 1'000'000, {999'995});
  sparse("hole-last", 1'000'000, {0});
  sparse("middle", 100'000, {50'000});
  sparse("none", 20, {0, 5, 10, 15});
  std::string many(4 << 20, '\0');
  for (size_t at = 0; at < many.size(); at += 32768) many[at] = 'x';
  write_file(root + "/many", many);
}

struct Format {
  const char* name;
  const char* options;
};

void PrintTo(const Format& format, std::ostream* out) {
  *out << format.name;
}

class TarOracle : public testing::TestWithParam<Format> {
 protected:
  void SetUp() override {
    std::setlocale(LC_ALL, "C.UTF-8");
    if (!is_there("tar --version")) GTEST_SKIP() << "skipped: needs GNU tar";
  }

  // Makes an archive of `tree` in the format of the parameter.
  void pack(const std::string& tree) {
    archive_ = dir_.path() + "/archive.tar";
    const std::string command =
        fmt::format("tar -C '{}' --sort=name {} -cf '{}' .", tree, GetParam().options, archive_);
    ASSERT_EQ(run(command).status, 0) << command;
    ours_ = test::tar_listing(as_bytes(contents(archive_)));
    ASSERT_NE(ours_, "");
    ASSERT_EQ(ours_.find("error"), ours_.npos);
  }

  void expect_go_reads_the_same() {
    if (!is_there("go version")) GTEST_SKIP() << "skipped: needs go";
    const std::string program = dir_.path() + "/go-listing";
    ASSERT_EQ(run(fmt::format("cd '{}' && go build -o '{}' .", RUNNEL_ORACLE_DIR, program)).status,
              0);
    EXPECT_EQ(run(fmt::format("'{}' '{}'", program, archive_)).text, ours_);
  }

  void expect_python_reads_the_same() {
    if (!is_there("python3 --version")) GTEST_SKIP() << "skipped: needs python3";
    const auto listed =
        run(fmt::format("python3 '{}/tar_listing.py' '{}'", RUNNEL_ORACLE_DIR, archive_));
    EXPECT_EQ(listed.text, ours_);
  }

  void expect_libarchive_reads_the_same() {
#ifdef RUNNEL_HAVE_LIBARCHIVE
    EXPECT_EQ(test::LibarchiveLister().list(archive_), ours_);
#else
    GTEST_SKIP() << "skipped: needs libarchive";
#endif
  }

  void expect_all_read_the_same() {
    expect_go_reads_the_same();
    expect_python_reads_the_same();
    expect_libarchive_reads_the_same();
  }

  test::TempDir dir_;
  std::string archive_;
  std::string ours_;
};

std::string name_of(const testing::TestParamInfo<Format>& info) {
  return info.param.name;
}

class EveryFormat : public TarOracle {};
INSTANTIATE_TEST_SUITE_P(TarOracle, EveryFormat,
                         testing::Values(Format{"v7", "--format=v7"},
                                         Format{"ustar", "--format=ustar"},
                                         Format{"oldgnu", "--format=oldgnu"},
                                         Format{"gnu", "--format=gnu"},
                                         Format{"posix", "--format=posix"}),
                         name_of);

TEST_P(EveryFormat, IsReadAsOthersReadIt) {
  make_plain_tree(dir_.path() + "/tree");
  pack(dir_.path() + "/tree");

  expect_all_read_the_same();
}

class RichFormat : public TarOracle {};
INSTANTIATE_TEST_SUITE_P(TarOracle, RichFormat,
                         testing::Values(Format{"oldgnu", "--format=oldgnu"},
                                         Format{"gnu", "--format=gnu"},
                                         Format{"posix", "--format=posix"}),
                         name_of);

TEST_P(RichFormat, IsReadAsOthersReadIt) {
  make_rich_tree(dir_.path() + "/tree");
  pack(dir_.path() + "/tree");

  expect_all_read_the_same();
}

class SparseFormat : public TarOracle {};
INSTANTIATE_TEST_SUITE_P(
    TarOracle, SparseFormat,
    testing::Values(
        Format{"oldgnu", "--format=oldgnu --sparse --hole-detection=raw"},
        Format{"gnu", "--format=gnu --sparse --hole-detection=raw"},
        Format{"pax_0_0", "--sparse-version=0.0 --format=posix --sparse --hole-detection=raw"},
        Format{"pax_0_1", "--sparse-version=0.1 --format=posix --sparse --hole-detection=raw"},
        Format{"pax_1_0", "--sparse-version=1.0 --format=posix --sparse --hole-detection=raw"}),
    name_of);

TEST_P(SparseFormat, IsReadAsOthersReadIt) {
  make_sparse_tree(dir_.path() + "/tree");
  pack(dir_.path() + "/tree");

  expect_all_read_the_same();
}

class PosixFormat : public TarOracle {};
INSTANTIATE_TEST_SUITE_P(TarOracle, PosixFormat,
                         testing::Values(Format{"posix",
                                                "--format=posix --xattrs --xattrs-include=*"}),
                         name_of);

TEST_P(PosixFormat, KeepsAttributesAndFractionsOfTimes) {
  const std::string tree = dir_.path() + "/tree";
  make_plain_tree(tree);
  const auto set = [&](const char* file, const char* name, std::string_view value) {
    return ::setxattr((tree + "/" + file).c_str(), name, value.data(), value.size(), 0) == 0;
  };
  if (!set("size-1", "user.plain", "value"))
    GTEST_SKIP() << "skipped: needs a file system with extended attributes";
  ASSERT_TRUE(set("size-1", "user.binary", std::string_view("\0\n=\xff", 4)));
  ASSERT_TRUE(set("size-1", "user.empty", ""));
  if (::geteuid() == 0) {
    ASSERT_TRUE(set("setuid", "security.capability",
                    std::string_view("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20)));
  }
  set_mtime(tree + "/size-511", 1700000000, 123456789);

  pack(tree);

  EXPECT_NE(ours_.find("xattr=user.plain=value"), ours_.npos);
  EXPECT_NE(ours_.find("xattr=user.binary=%00%0a=%ff"), ours_.npos);
  EXPECT_NE(ours_.find("mtime=1700000000.123456789"), ours_.npos);
  expect_all_read_the_same();
}

// libarchive 3.6 takes the fraction of a negative time the wrong way round.
TEST_P(PosixFormat, CountsFractionsForwardBefore1970) {
  const std::string tree = dir_.path() + "/tree";
  make_plain_tree(tree);
  set_mtime(tree + "/size-512", -5, 750000000);

  pack(tree);

  EXPECT_NE(ours_.find("mtime=-5.750000000"), ours_.npos);
  expect_go_reads_the_same();
  expect_python_reads_the_same();
}

// Beyond what GNU tar writes: also Python's archives, global headers, numbers of every kind.
TEST(TarOracle, ReadsTheFuzzingSeedsAsGoDoes) {
  if (!is_there("go version")) GTEST_SKIP() << "skipped: needs go";
  int compared = 0;
  for (const auto& file : fs::directory_iterator(RUNNEL_SEED_DIR)) {
    const std::string path = file.path();
    const std::string ours = test::tar_listing(as_bytes(contents(path)));
    EXPECT_EQ(run(fmt::format("cd '{}' && go run . '{}'", RUNNEL_ORACLE_DIR, path)).text, ours)
        << path;
    ++compared;
  }
  EXPECT_GT(compared, 10);
}

}  // namespace
}  // namespace runnel::tar
