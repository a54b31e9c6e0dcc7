// What containerd expects of any snapshotter (the cases of its snapshots/testsuite), on real
// mounts. A part that needs no mounts is in store_test.cc and snapshotter_test.cc.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ranges>

#include "base/fd.h"
#include "snapshot/snapshotter.h"
#include "support/temp_dir.h"

namespace runnel::snapshot {
namespace {

namespace fs = std::filesystem;

// No image of the host of these tests streams.
class NoStreaming final : public Streaming {
 public:
  Result<bool> offer(const std::string&, const std::string&, const Labels&) override {
    return false;
  }
  Result<std::string> mount(const std::string& chain_id) override {
    return fail(Code::kUnavailable, "nothing streams, {} neither", chain_id);
  }
  void idle(const std::string&) override {}
  void forget(const std::string&) override {}
  Result<Usage> usage(const std::string&) override { return Usage{}; }
};

// overlayfs, each lower directory by a call of its own: an option string ends at a page.
Result<UniqueFd> overlay(const Mount& mount) {
  const UniqueFd context(static_cast<int>(::syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC)));
  if (!context) return fail_errno("fsopen");
  const auto set = [&](const std::string& key, const std::string& value) {
    return ::syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, key.c_str(), value.c_str(),
                     0) == 0;
  };
  for (const auto& option : mount.options) {
    const auto equals = option.find('=');
    const auto key = option.substr(0, equals);
    const auto value = option.substr(equals + 1);
    if (key != "lowerdir") {
      if (!set(key, value)) return fail_errno("fsconfig {}", option);
      continue;
    }
    for (const auto lower : std::views::split(value, ':')) {
      if (!set("lowerdir+", std::string(lower.begin(), lower.end()))) return fail_errno("lowerdir");
    }
  }
  if (::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return fail_errno("create overlay");
  UniqueFd made(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  if (!made) return fail_errno("fsmount");
  return made;
}

// Mounts what the snapshotter answered at a directory, while it lives.
class Mounted {
 public:
  Mounted(const Result<std::vector<Mount>>& mounts, std::string at) : at_(std::move(at)) {
    fs::create_directories(at_);
    const auto done = mount(mounts);
    EXPECT_TRUE(done) << done.error().message;
    mounted_ = done.has_value();
  }
  ~Mounted() {
    if (mounted_) EXPECT_EQ(::umount2(at_.c_str(), 0), 0) << at_;
  }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;

  std::string operator/(const std::string& name) const { return at_ + "/" + name; }
  const std::string& path() const { return at_; }

 private:
  Result<void> mount(const Result<std::vector<Mount>>& mounts) {
    if (!mounts) return std::unexpected(mounts.error());
    if (mounts->size() != 1) return fail(Code::kInvalid, "{} mounts", mounts->size());
    const auto& one = mounts->front();
    if (one.type == "overlay") {
      RUNNEL_TRY(const UniqueFd made, overlay(one));
      if (::syscall(SYS_move_mount, made.get(), "", AT_FDCWD, at_.c_str(),
                    MOVE_MOUNT_F_EMPTY_PATH) != 0)
        return fail_errno("move_mount");
      return {};
    }
    if (::mount(one.source.c_str(), at_.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
      return fail_errno("bind {}", one.source);
    const bool read_only = std::ranges::find(one.options, "ro") != one.options.end();
    if (read_only &&
        ::mount(nullptr, at_.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0)
      return fail_errno("remount");
    return {};
  }

  const std::string at_;
  bool mounted_ = false;
};

void write(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}
std::string read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}
struct stat status(const std::string& path) {
  struct stat info{};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
  return info;
}

class Conformance : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to mount";
    store_ = Store::open(dir_.path() + "/snapshots.db", clock_).value();
    snapshotter_ = Snapshotter::open(dir_.path(), *store_, streaming_).value();
  }

  // A layer on top of `parent` with what `change` does to the mounted directory.
  std::string layer(const std::string& name, const std::string& parent,
                    const std::function<void(const Mounted&)>& change) {
    {
      const Mounted mounted(snapshotter_->prepare(name + "-active", parent, {}),
                            dir_.path() + "/mnt");
      change(mounted);
    }
    const auto done = snapshotter_->commit(name + "-active", name, {});
    EXPECT_TRUE(done) << done.error().message;
    return name;
  }
  void with_view(const std::string& parent, const std::function<void(const Mounted&)>& check) {
    {
      const Mounted mounted(snapshotter_->view("view", parent, {}), dir_.path() + "/mnt");
      check(mounted);
    }
    EXPECT_TRUE(snapshotter_->remove("view"));
  }

  test::TempDir dir_;
  SystemClock clock_;
  NoStreaming streaming_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Snapshotter> snapshotter_;
};

TEST_F(Conformance, ShowsEachLayerOnTopOfTheLast) {
  layer("A", "", [](const Mounted& m) {
    write(m / "foo", "foo\n");
    fs::create_directories(m / "a/b/c");
  });
  layer("B", "A", [](const Mounted& m) {
    EXPECT_EQ(read(m / "foo"), "foo\n");
    write(m / "bar", "bar\n");
    write(m / "foo", "bar\n");
    fs::remove_all(m / "a/b");
  });

  with_view("B", [](const Mounted& m) {
    EXPECT_EQ(read(m / "foo"), "bar\n");
    EXPECT_EQ(read(m / "bar"), "bar\n");
    EXPECT_TRUE(fs::is_directory(m / "a"));
    EXPECT_FALSE(fs::exists(m / "a/b"));
  });
  with_view("A", [](const Mounted& m) {
    EXPECT_EQ(read(m / "foo"), "foo\n");
    EXPECT_TRUE(fs::is_directory(m / "a/b/c"));
  });
  EXPECT_EQ(snapshotter_->stat("B")->parent, "A");
  EXPECT_EQ(snapshotter_->stat("B-active").error().code, Code::kNotFound);
  EXPECT_EQ(snapshotter_->remove("A").error().code, Code::kConflict);
  EXPECT_TRUE(snapshotter_->remove("B"));
  EXPECT_TRUE(snapshotter_->remove("A"));
}

TEST_F(Conformance, CommitsWhatIsStillMounted) {
  const Mounted first(snapshotter_->prepare("a", "", {}), dir_.path() + "/m1");
  write(first / "foo", "foo\n");
  ASSERT_TRUE(snapshotter_->commit("a", "A", {}));
  const Mounted second(snapshotter_->prepare("b", "A", {}), dir_.path() + "/m2");
  write(second / "foo", "foo bar\n");
  ASSERT_TRUE(snapshotter_->commit("b", "B", {}));

  EXPECT_EQ(snapshotter_->stat(snapshotter_->stat("B")->parent)->parent, "");
  with_view("B", [](const Mounted& m) { EXPECT_EQ(read(m / "foo"), "foo bar\n"); });
}

TEST_F(Conformance, UpdatesFilesOfALowerLayer) {
  layer("A", "", [](const Mounted& m) {
    fs::create_directory(m / "etc");
    ::chmod((m / "etc").c_str(), 0700);
    write(m / "etc/hosts", "mydomain 10.0.0.1");
    write(m / "etc/profile", "PATH=/usr/bin");
    ::chmod((m / "etc/profile").c_str(), 0644);
  });
  layer("B", "A", [](const Mounted& m) {
    write(m / "etc/hosts", "mydomain 10.0.0.2");
    ::chmod((m / "etc/profile").c_str(), 0666);
  });

  with_view("B", [](const Mounted& m) {
    EXPECT_EQ(read(m / "etc/hosts"), "mydomain 10.0.0.2");
    EXPECT_EQ(status(m / "etc/profile").st_mode & 07777, 0666u);
    EXPECT_EQ(status(m / "etc").st_mode & 07777, 0700u);
  });
}

TEST_F(Conformance, HidesADirectoryThatWasRemovedAndMadeAgain) {
  layer("A", "", [](const Mounted& m) {
    fs::create_directory(m / "lib");
    write(m / "lib/hidden", "");
  });
  layer("B", "A", [](const Mounted& m) {
    fs::remove_all(m / "lib");
    fs::create_directory(m / "lib");
    write(m / "lib/not-hidden", "");
  });
  layer("C", "B", [](const Mounted& m) { write(m / "lib/newfile", ""); });

  with_view("C", [](const Mounted& m) {
    EXPECT_FALSE(fs::exists(m / "lib/hidden"));
    EXPECT_TRUE(fs::exists(m / "lib/not-hidden"));
    EXPECT_TRUE(fs::exists(m / "lib/newfile"));
  });
}

TEST_F(Conformance, KeepsOwnersAndModesOverCommits) {
  layer("A", "", [](const Mounted& m) {
    for (const char* name : {"d1", "d2", "d3", "d4"}) {
      fs::create_directory(m / name);
      ::chmod((m / name).c_str(), 0700);
    }
    write(m / "d4/f", "...");
    for (const char* name : {"d1", "d2", "d3"}) ASSERT_EQ(::chown((m / name).c_str(), 1, 1), 0);
  });
  layer("B", "A", [](const Mounted& m) {
    ASSERT_EQ(::chown((m / "d2").c_str(), 0, 0), 0);
    fs::remove_all(m / "d3");
    ASSERT_EQ(::chown((m / "d4").c_str(), 1, 1), 0);
    ASSERT_EQ(::chown((m / "d4/f").c_str(), 1, 1), 0);
  });
  layer("C", "B", [](const Mounted& m) {
    fs::create_directory(m / "d3");
    ASSERT_EQ(::chown((m / "d3").c_str(), 1, 1), 0);
  });

  with_view("C", [](const Mounted& m) {
    for (const char* name : {"d1", "d3", "d4", "d4/f"}) EXPECT_EQ(status(m / name).st_uid, 1u);
    EXPECT_EQ(status(m / "d2").st_uid, 0u);
    EXPECT_EQ(status(m / "d1").st_mode & 07777, 0700u);
  });
}

TEST_F(Conformance, ForgetsFilesThatAChildDeleted) {
  layer("A", "", [](const Mounted& m) {
    write(m / "foo", "foo\n");
    write(m / "foobar", "foobar\n");
  });
  layer("B", "A", [](const Mounted& m) { fs::remove(m / "foobar"); });
  layer("C", "B", [](const Mounted&) {});

  with_view("C", [](const Mounted& m) {
    EXPECT_TRUE(fs::exists(m / "foo"));
    EXPECT_FALSE(fs::exists(m / "foobar"));
  });
}

TEST_F(Conformance, MovesFilesOfALowerLayer) {
  layer("A", "", [](const Mounted& m) {
    fs::create_directory(m / "dir1");
    write(m / "dir1/f1", "Hello");
    fs::create_directory(m / "dir2");
    write(m / "dir2/f2", "..");
  });
  layer("B", "A", [](const Mounted& m) { fs::rename(m / "dir1/f1", m / "dir2/f1"); });

  with_view("B", [](const Mounted& m) {
    EXPECT_FALSE(fs::exists(m / "dir1/f1"));
    EXPECT_EQ(read(m / "dir2/f1"), "Hello");
    EXPECT_EQ(read(m / "dir2/f2"), "..");
  });
}

TEST_F(Conformance, GivesViewsThatCannotBeWritten) {
  layer("A", "", [](const Mounted&) {});
  layer("B", "A", [](const Mounted&) {});

  for (const char* parent : {"", "A", "B"}) {
    with_view(parent, [](const Mounted& m) {
      EXPECT_LT(::open((m / "file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600), 0);
      EXPECT_EQ(errno, EROFS);
    });
  }
}

TEST_F(Conformance, GivesTheRootItsModeWhateverTheUmask) {
  const auto before = ::umask(077);
  const Mounted mounted(snapshotter_->prepare("a", "", {}), dir_.path() + "/mnt");
  ::umask(before);

  EXPECT_EQ(status(mounted.path()).st_mode & 0777, 0755u);
}

TEST_F(Conformance, ListsWhatStatSays) {
  layer("A", "", [](const Mounted&) {});
  layer("B", "A", [](const Mounted&) {});
  ASSERT_TRUE(snapshotter_->prepare("a", "B", {{"l", "1"}}));
  ASSERT_TRUE(snapshotter_->view("v", "B", {}));

  const auto infos = snapshotter_->list({}).value();

  EXPECT_EQ(infos.size(), 4u);
  for (const auto& info : infos) EXPECT_EQ(snapshotter_->stat(info.name).value(), info);
}

TEST_F(Conformance, FindsByEveryKindOfFilter) {
  const auto commit = [&](const char* key, const char* name, const Labels& labels) {
    ASSERT_TRUE(snapshotter_->prepare(key, "", {}));
    ASSERT_TRUE(snapshotter_->commit(key, name, labels));
  };
  ASSERT_TRUE(snapshotter_->prepare("a-np", "", {}));
  commit("p-tmp", "p", {});
  commit("p-wl-tmp", "p-wl", {{"l", "1"}});
  ASSERT_TRUE(snapshotter_->prepare("a", "p", {}));
  ASSERT_TRUE(snapshotter_->view("v", "p", {}));
  ASSERT_TRUE(snapshotter_->prepare("a-wl", "p-wl", {{"l", "2"}}));
  ASSERT_TRUE(snapshotter_->view("v-wl", "p-wl", {{"l", "3"}}));
  ASSERT_TRUE(snapshotter_->prepare("a-np-wl", "", {{"l", "2"}}));

  const auto names = [&](const std::vector<std::string>& filters) {
    std::string all;
    for (const auto& info : snapshotter_->list(filters).value()) all += info.name + " ";
    return all;
  };
  EXPECT_EQ(names({"kind==active"}), "a-np a a-wl a-np-wl ");
  EXPECT_EQ(names({"kind==view"}), "v v-wl ");
  EXPECT_EQ(names({"kind==committed"}), "p p-wl ");
  EXPECT_EQ(names({"name==p", "name==a-np-wl"}), "p a-np-wl ");
  EXPECT_EQ(names({"name==a-wl,labels.l"}), "a-wl ");
  EXPECT_EQ(names({"parent==p"}), "a v ");
  EXPECT_EQ(names({"parent!=\"\""}), "a v a-wl v-wl ");
  EXPECT_EQ(names({"labels.l"}), "p-wl a-wl v-wl a-np-wl ");
  EXPECT_EQ(names({"labels.l==2"}), "a-wl a-np-wl ");
}

TEST_F(Conformance, TakesKeysAndNamesAgainAfterTheirRemoval) {
  layer("A", "", [](const Mounted&) {});
  ASSERT_TRUE(snapshotter_->prepare("reuse", "A", {}));
  ASSERT_TRUE(snapshotter_->remove("reuse"));
  ASSERT_TRUE(snapshotter_->view("reuse", "A", {}));
  ASSERT_TRUE(snapshotter_->remove("reuse"));
  ASSERT_TRUE(snapshotter_->prepare("reuse", "", {}));
  ASSERT_TRUE(snapshotter_->remove("A"));
  EXPECT_TRUE(snapshotter_->commit("reuse", "A", {}));
}

TEST_F(Conformance, RefusesToUseAKeyTwice) {
  layer("A", "", [](const Mounted&) {});
  ASSERT_TRUE(snapshotter_->prepare("active", "A", {}));
  ASSERT_TRUE(snapshotter_->view("view", "A", {}));

  for (const char* key : {"active", "view", "A"}) {
    EXPECT_EQ(snapshotter_->prepare(key, "A", {}).error().code, Code::kExists) << key;
    EXPECT_EQ(snapshotter_->view(key, "A", {}).error().code, Code::kExists) << key;
  }
}

TEST_F(Conformance, MountsA128LayersDeepChain) {
  std::string parent;
  for (int i = 0; i < 128; ++i) {
    parent = layer(fmt::format("layer-{}", i), parent, [&](const Mounted& m) {
      write(m / "overwriteme", fmt::format("{} WAS HERE!\n", i));
      fs::create_directories(m / "ADDHERE");
      write(m / fmt::format("ADDHERE/file-{}", i), "same\n");
      fs::remove_all(m / "ONLYME");
      fs::create_directory(m / "ONLYME");
      write(m / fmt::format("ONLYME/file-{}", i), "only me!\n");
    });
  }

  with_view(parent, [](const Mounted& m) {
    EXPECT_EQ(read(m / "overwriteme"), "127 WAS HERE!\n");
    EXPECT_EQ(std::distance(fs::directory_iterator(m / "ADDHERE"), {}), 128);
    EXPECT_EQ(std::distance(fs::directory_iterator(m / "ONLYME"), {}), 1);
    EXPECT_TRUE(fs::exists(m / "ONLYME/file-127"));
  });
}

}  // namespace
}  // namespace runnel::snapshot
