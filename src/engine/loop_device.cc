#include "engine/loop_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

#include "engine/side_process.h"

namespace runnel::engine {

namespace {

constexpr int kAttempts = 64;
// What the kernel reads ahead in a file of a mount over it: 128 KiB in sectors, as on a file. Left
// alone it is up to 2560 KiB (Linux 6.18), and each page fault in a program fetches that much
// around it: a start of node got 28 % of its image and not 18.
constexpr unsigned long kReadAheadSectors = 256;
// sysfs gives a page at most.
constexpr size_t kMaxBackingFile = 4096;

std::string backing_file_of(std::string_view loop) {
  return fmt::format("/sys/block/{}/loop/backing_file", loop);
}

// What sysfs says, without its newline; -1 and errno when it says nothing. System calls only.
ssize_t read_backing_file(const char* path, char* text, size_t size) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  const ssize_t got = ::read(file, text, size);
  const int saved = errno;
  ::close(file);
  errno = saved;
  return got > 0 && text[got - 1] == '\n' ? got - 1 : got;
}

// Whether the kernel took the flag: where the file has no direct reads it drops it without a word.
bool reads_directly(int loop) {
  loop_info64 info{};
  return ::ioctl(loop, LOOP_GET_STATUS64, &info) == 0 && (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
}

}  // namespace

int attach_loop(const char* path, bool direct, char* device, size_t size) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) return -1;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) return -1;
    std::snprintf(device, size, "/dev/loop%d", number);
    const int loop = ::open(device, O_RDONLY | O_CLOEXEC);
    if (loop < 0) return -1;
    loop_config config{};
    config.fd = static_cast<__u32>(file);
    config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    if (direct) config.info.lo_flags |= LO_FLAGS_DIRECT_IO;
    if (::ioctl(loop, LOOP_CONFIGURE, &config) == 0) {
      if (direct && !reads_directly(loop)) {
        errno = EOPNOTSUPP;
        return -1;  // it goes with this process
      }
      return ::ioctl(loop, BLKRASET, kReadAheadSectors) == 0 ? loop : -1;
    }
    const int saved = errno;
    ::close(loop);
    errno = saved;
    if (errno != EBUSY) return -1;  // EBUSY: another process took it first
  }
  return -1;
}

Result<std::string> file_behind(const std::string& loop) {
  char text[kMaxBackingFile];
  const ssize_t size = read_backing_file(backing_file_of(loop).c_str(), text, sizeof text);
  if (size < 0) return fail_errno("which file {} reads", loop);
  return std::string(text, static_cast<size_t>(size));
}

namespace {

// What the process that moves it uses, which may allocate nothing.
struct Moving {
  LoopMove move;
  std::string device;
  std::string backing_file;
  int error = 0;  // errno of what went wrong, with
  const char* step = "";

  bool failed(const char* at) {
    error = errno;
    step = at;
    return false;
  }
};

// The device is open, so that it cannot become somebody else's.
bool reads_from(const Moving& moving) {
  char text[kMaxBackingFile];
  const ssize_t size = read_backing_file(moving.backing_file.c_str(), text, sizeof text);
  return size >= 0 && std::string_view(text, static_cast<size_t>(size)) == moving.move.from;
}

bool move_there(Moving& moving) {
  const int to = ::open(moving.move.to.c_str(), O_RDONLY | O_CLOEXEC);
  if (to < 0) return moving.failed("open the file");
  const int device = ::open(moving.device.c_str(), O_RDONLY | O_CLOEXEC);
  if (device < 0) return moving.failed("open the device");
  if (!reads_from(moving)) return moving.failed("");
  if (::ioctl(device, LOOP_CHANGE_FD, to) != 0) return moving.failed("LOOP_CHANGE_FD");
  // After the change, or the kernel may sync the old file. Without it reads are right as well.
  if (!moving.move.direct && reads_directly(device)) ::ioctl(device, LOOP_SET_DIRECT_IO, 0UL);
  return true;
}

}  // namespace

Result<void> move_loop(const LoopMove& move, Duration timeout) {
  const auto moving = std::make_shared<Moving>();
  moving->move = move;
  moving->device = "/dev/" + move.loop;
  moving->backing_file = backing_file_of(move.loop);
  const auto what = fmt::format("move {} to {}", move.loop, move.to);
  RUNNEL_TRY(const int moved,
             run_beside(what, timeout, [moving] { return move_there(*moving) ? 1 : 0; }));
  if (moved == 1) return {};
  if (*moving->step == '\0')
    return fail(Code::kConflict, "{}: it does not read {} any more", what, move.from);
  return std::unexpected(system_error(moving->error, fmt::format("{} ({})", what, moving->step)));
}

}  // namespace runnel::engine
