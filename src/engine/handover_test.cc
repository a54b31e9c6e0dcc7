#include "engine/handover.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "support/temp_dir.h"

namespace runnel::engine {
namespace {

UniqueFd some_file() {
  return open_file("/dev/null", O_RDONLY).value();
}

TEST(Handover, PassesDescriptorsByName) {
  Handover first;
  first.add("fuse", some_file());
  first.add("listen-mirror-0a", some_file());
  const int fuse = first.get("fuse");
  ASSERT_TRUE(first.prepare_exec());
  ASSERT_EQ(::fcntl(fuse, F_GETFD) & FD_CLOEXEC, 0);

  auto second = Handover::inherited();

  ASSERT_TRUE(second);
  EXPECT_EQ(second->get("fuse"), fuse);
  EXPECT_TRUE(second->has("listen-mirror-0a"));
  EXPECT_EQ(::fcntl(fuse, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_EQ(std::getenv("RUNNEL_FDS"), nullptr);
  first.take("fuse").release();
  first.take("listen-mirror-0a").release();
}

TEST(Handover, RefusesWhatIsNoDescriptor) {
  for (const auto* text : {"fuse=", "fuse", "fuse=x", "fuse=-1", "fuse=99999", "=0"}) {
    ::setenv("RUNNEL_FDS", text, 1);
    EXPECT_FALSE(Handover::inherited()) << text;
  }
}

TEST(Handover, DropsWhatNobodyWantsAnyMore) {
  Handover handover;
  handover.add("fuse", some_file());
  handover.add("listen-mirror-old", some_file());
  handover.add("listen-mirror-new", some_file());

  handover.drop_others("listen-", {"listen-mirror-new"});

  EXPECT_TRUE(handover.has("fuse"));
  EXPECT_TRUE(handover.has("listen-mirror-new"));
  EXPECT_FALSE(handover.has("listen-mirror-old"));
}

TEST(Handover, GivesDescriptorsToTheServiceManager) {
  const test::TempDir directory;
  const auto path = directory.path() + "/notify";
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  Handover handover;
  handover.add("fuse", some_file());

  handover.store_with_systemd();

  ::unsetenv("NOTIFY_SOCKET");
  char text[64] = {};
  iovec part{text, sizeof text - 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ASSERT_GT(::recvmsg(socket.get(), &header, MSG_DONTWAIT), 0);
  EXPECT_STREQ(text, "FDSTORE=1\nFDNAME=fuse");
  const cmsghdr* rights = CMSG_FIRSTHDR(&header);
  ASSERT_NE(rights, nullptr);
  EXPECT_EQ(rights->cmsg_type, SCM_RIGHTS);
  int received = -1;
  std::memcpy(&received, CMSG_DATA(rights), sizeof received);
  EXPECT_GE(::fcntl(received, F_GETFD), 0);
  ::close(received);
}

}  // namespace
}  // namespace runnel::engine
