#include "engine/loop_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "base/fd.h"
#include "support/temp_dir.h"

namespace runnel::engine {
namespace {

constexpr size_t kBytes = 64 * 1024;
constexpr auto kTimeout = std::chrono::seconds(30);

class LoopDevices : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    from_ = file("from", kBytes, 'f');
    to_ = file("to", kBytes, 't');
  }

  std::string file(const std::string& name, size_t size, char fill) const {
    const auto path = std::filesystem::canonical(place_.path()).string() + "/" + name;
    const auto fd = open_file(path, O_CREAT | O_WRONLY, 0600).value();
    EXPECT_TRUE(write_all(fd.get(), as_bytes(std::string(size, fill))));
    return path;
  }

  // Its name ("loop7"); the device goes with the descriptor.
  static std::string attach(const std::string& path, UniqueFd& device, bool direct = false) {
    char text[32];
    device = UniqueFd(attach_loop(path.c_str(), direct, text, sizeof text));
    EXPECT_GE(device.get(), 0) << strerror(errno);
    return std::string(text).substr(std::string("/dev/").size());
  }

  // Past what the kernel keeps of it.
  static char read_byte(const std::string& loop) {
    const auto device = open_file("/dev/" + loop, O_RDONLY | O_DIRECT).value();
    alignas(4096) std::byte block[4096] = {};
    EXPECT_TRUE(read_exact_at(device.get(), block, kBytes / 2));
    return static_cast<char>(block[0]);
  }

  static bool reads_directly(const UniqueFd& device) {
    loop_info64 info{};
    EXPECT_EQ(::ioctl(device.get(), LOOP_GET_STATUS64, &info), 0);
    return (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
  }

  const test::TempDir place_;
  std::string from_;
  std::string to_;
};

TEST_F(LoopDevices, SayWhichFileTheyRead) {
  UniqueFd device;
  const auto loop = attach(from_, device);

  EXPECT_EQ(file_behind(loop), from_);
  EXPECT_EQ(file_behind("loop123456").error().code, Code::kNotFound);
}

TEST_F(LoopDevices, ReadAnotherFileWhileTheyAreInUse) {
  for (const bool direct : {false, true}) {
    UniqueFd device;
    const auto loop = attach(from_, device, direct);
    ASSERT_EQ(read_byte(loop), 'f');

    const auto moved = move_loop({.loop = loop, .from = from_, .to = to_}, kTimeout);

    ASSERT_TRUE(moved) << moved.error().message;
    EXPECT_EQ(read_byte(loop), 't');
    EXPECT_EQ(file_behind(loop), to_);
    EXPECT_FALSE(reads_directly(device));
  }
}

TEST_F(LoopDevices, ReadTheOtherFileDirectlyWhenTheyAreTold) {
  UniqueFd device;
  const auto loop = attach(from_, device, true);

  ASSERT_TRUE(move_loop({.loop = loop, .from = from_, .to = to_, .direct = true}, kTimeout));

  EXPECT_EQ(read_byte(loop), 't');
  EXPECT_TRUE(reads_directly(device));
}

TEST_F(LoopDevices, AreLeftAloneWhenTheyReadSomethingElseMeanwhile) {
  UniqueFd device;
  const auto others = file("others", kBytes, 'o');
  const auto loop = attach(others, device);

  const auto moved = move_loop({.loop = loop, .from = from_, .to = to_}, kTimeout);

  EXPECT_EQ(moved.error().code, Code::kConflict);
  EXPECT_EQ(read_byte(loop), 'o');
}

TEST_F(LoopDevices, KeepTheirFileWhenTheOtherIsOfAnotherSizeOrGone) {
  UniqueFd device;
  const auto loop = attach(from_, device);
  const auto shorter = file("shorter", kBytes / 2, 's');
  const auto error_of = [&](const std::string& loop_device, const std::string& to) {
    const auto moved = move_loop({.loop = loop_device, .from = from_, .to = to}, kTimeout);
    return moved ? std::string() : moved.error().message;
  };

  EXPECT_EQ(error_of(loop, shorter),
            "move " + loop + " to " + shorter + " (LOOP_CHANGE_FD): Invalid argument");
  EXPECT_EQ(error_of(loop, from_ + "-gone"),
            "move " + loop + " to " + from_ + "-gone (open the file): No such file or directory");
  EXPECT_EQ(error_of("loop123456", to_),
            "move loop123456 to " + to_ + " (open the device): No such file or directory");
  EXPECT_EQ(read_byte(loop), 'f');
}

}  // namespace
}  // namespace runnel::engine
