#include "snapshot/id_mapping.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel::snapshot {
namespace {

TEST(IdMapping, ReadsWhatContainerdWrites) {
  const auto one = parse_id_ranges("0:1000:65536");
  const auto two = parse_id_ranges("0:1000:1,1:100000:65535");

  ASSERT_TRUE(one);
  EXPECT_EQ(*one, (std::vector<IdRange>{{0, 1000, 65536}}));
  ASSERT_TRUE(two);
  EXPECT_EQ(two->size(), 2u);
  EXPECT_EQ((*two)[1], (IdRange{1, 100000, 65535}));
}

TEST(IdMapping, RefusesWhatIsNoMapping) {
  for (const auto* text : {"", "0", "0:1", "0:1:2:3", "a:1:2", "0:1:0", "0:1:2,", "-1:0:5",
                           " 0:1:2", "4294967295:0:2", "0:4294967295:2", "0:1:4294967296"}) {
    EXPECT_FALSE(parse_id_ranges(text)) << text;
  }
}

TEST(IdMapping, NeedsBothLabels) {
  const Labels users{{"containerd.io/snapshot/uidmapping", "0:1000:10"}};
  const Labels both{{"containerd.io/snapshot/uidmapping", "0:1000:10"},
                    {"containerd.io/snapshot/gidmapping", "0:2000:10"}};

  EXPECT_FALSE(id_mapping_of(users));
  ASSERT_TRUE(id_mapping_of(both));
  EXPECT_EQ((*id_mapping_of(both))->groups[0].host, 2000u);
  EXPECT_FALSE(*id_mapping_of({}));
}

TEST(IdMapping, FindsTheHostsIdOrSaysThatThereIsNone) {
  const std::vector<IdRange> ranges{{0, 1000, 10}, {50, 5000, 1}};

  EXPECT_EQ(IdMapping::to_host(ranges, 3), 1003u);
  EXPECT_EQ(IdMapping::to_host(ranges, 50), 5000u);
  EXPECT_EQ(IdMapping::to_host(ranges, 10), std::nullopt);
}

TEST(IdMapping, ShowsOtherOwnersWithoutChangingAFile) {
  if (::geteuid() != 0) GTEST_SKIP() << "skipped: needs root";
  const test::TempDir directory;
  const auto source = directory.path() + "/source";
  const auto lower = directory.path() + "/lower";
  ASSERT_TRUE(make_directories(source));
  ASSERT_TRUE(replace_file(source + "/file", as_bytes("x")));
  ASSERT_EQ(::chown((source + "/file").c_str(), 7, 8), 0);
  const IdMapping mapping{.users = {{0, 1000, 100}}, .groups = {{0, 2000, 100}}};

  const auto mounted = mount_id_mapped(source, lower + "/0", mapping);
  const auto again = mount_id_mapped(source, lower + "/0", mapping);

  struct stat mapped{};
  struct stat original{};
  const int seen = ::stat((lower + "/0/file").c_str(), &mapped);
  const int writable = ::open((lower + "/0/file").c_str(), O_WRONLY | O_CLOEXEC);
  unmount_id_mapped(lower);
  if (!mounted && mounted.error().code == Code::kUnsupported) {
    GTEST_SKIP() << "skipped: needs a file system with ID-mapped mounts";
  }
  ASSERT_TRUE(mounted) << mounted.error().message;
  EXPECT_TRUE(again);
  ASSERT_EQ(seen, 0);
  EXPECT_EQ(mapped.st_uid, 1007u);
  EXPECT_EQ(mapped.st_gid, 2008u);
  EXPECT_LT(writable, 0);
  ASSERT_EQ(::stat((source + "/file").c_str(), &original), 0);
  EXPECT_EQ(original.st_uid, 7u);
  EXPECT_NE(::stat((lower + "/0/file").c_str(), &mapped), 0) << "it is still mounted";
}

TEST(IdMapping, TakesAnEarlierMountOfTheSourceAway) {
  if (::geteuid() != 0) GTEST_SKIP() << "skipped: needs root";
  const test::TempDir directory;
  const auto source = directory.path() + "/source";
  const auto lower = directory.path() + "/lower";
  const auto first = lower + "/0";
  ASSERT_TRUE(make_directories(source));
  const IdMapping mapping{.users = {{0, 1000, 100}}, .groups = {{0, 2000, 100}}};
  // As when a holder has died, and the next one has mounted the image anew.
  const auto mount_anew = [&](const std::string& file) {
    ::umount2(source.c_str(), MNT_DETACH);
    return ::mount("none", source.c_str(), "tmpfs", 0, "") == 0 &&
           replace_file(source + "/" + file, as_bytes("x"));
  };
  const auto map_and_look = [&](const std::string& file) -> Result<bool> {
    RUNNEL_DO(mount_id_mapped(source, first, mapping));
    return ::access((first + "/" + file).c_str(), F_OK) == 0;
  };

  ASSERT_TRUE(mount_anew("old"));
  const auto old = map_and_look("old");
  ASSERT_TRUE(mount_anew("new"));
  const auto anew = map_and_look("new");
  const bool on_top =
      ::umount2(first.c_str(), MNT_DETACH) == 0 && ::access((first + "/old").c_str(), F_OK) == 0;
  unmount_id_mapped(lower);
  ::umount2(source.c_str(), MNT_DETACH);

  if (!old && old.error().code == Code::kUnsupported)
    GTEST_SKIP() << "skipped: needs a tmpfs with ID-mapped mounts";
  ASSERT_TRUE(old && anew);
  EXPECT_TRUE(*old);
  EXPECT_TRUE(*anew) << "the dead mount is still shown";
  EXPECT_FALSE(on_top) << "the dead mount is below it";
}

}  // namespace
}  // namespace runnel::snapshot
