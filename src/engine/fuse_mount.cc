#include "engine/fuse_mount.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/bytes.h"

namespace runnel::engine {

namespace {

constexpr int kInitTimeoutMs = 10'000;
constexpr uint16_t kMaxPages = 256;  // a read of 1 MiB at most
// Reads ahead, and those of a loop device, that are under way at once; the rest waits in the
// kernel, whichever layer it is of. More than the 128 that one loop device sends (its queue), so
// that one layer that is stalled holds up no other, and far fewer than the request slots.
constexpr uint16_t kMaxBackground = 256;
// From so many on the kernel leaves out what it would read ahead only on suspicion.
constexpr uint16_t kCongested = 48;
constexpr uint32_t kMaxReadahead = 1 << 20;
// include/uapi/linux/fuse.h of Linux 6.9, not in Debian 12's headers: bit 39.
constexpr uint64_t kHasResend = uint64_t{1} << 39;
// The same of Linux 6.12, bit 40: mounts of it may be ID-mapped. It takes default_permissions, and
// requests then have no user (kNoUser in tree_fs.cc).
constexpr uint64_t kAllowIdMap = uint64_t{1} << 40;
// Of Linux 5.1, which opens directories without asking (FUSE_NO_OPENDIR_SUPPORT, the same header).
constexpr uint32_t kLeastMinor = 29;
constexpr uint64_t kInitExt = uint64_t{1} << 30;

Result<void> answer_init(int fuse) {
  pollfd waiting{.fd = fuse, .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, kInitTimeoutMs) != 1) {
    return fail(Code::kUnavailable, "the kernel does not begin to talk FUSE");
  }
  Buffer request(64 * 1024);
  const ssize_t size = ::read(fuse, request.data(), request.size());
  if (size < 0) return fail_errno("read FUSE INIT");
  if (static_cast<size_t>(size) < sizeof(fuse_in_header) + 16) {
    return fail(Code::kInvalid, "FUSE INIT of {} bytes", size);
  }
  const auto header = load_le<fuse_in_header>(request.data());
  fuse_init_in in{};
  std::memcpy(&in, request.data() + sizeof header,
              std::min(sizeof in, static_cast<size_t>(size) - sizeof header));
  if (header.opcode != FUSE_INIT || in.major != FUSE_KERNEL_VERSION || in.minor < kLeastMinor) {
    return fail(Code::kUnsupported, "this kernel speaks FUSE {}.{}, and 7.{} (Linux 5.1) is needed",
                in.major, in.minor, kLeastMinor);
  }
  const uint64_t offered = in.flags | (in.flags & kInitExt ? uint64_t{in.flags2} << 32 : 0);
  // POSIX ACLs: with default_permissions the kernel checks those of a tree's files by itself.
  const uint64_t wanted =
      offered &
      (FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |
       FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_CACHE_SYMLINKS | FUSE_NO_OPEN_SUPPORT |
       FUSE_NO_OPENDIR_SUPPORT | FUSE_POSIX_ACL | kInitExt | kHasResend | kAllowIdMap);
  fuse_init_out out{};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = FUSE_KERNEL_MINOR_VERSION;
  out.max_readahead = std::min(in.max_readahead, kMaxReadahead);
  out.flags = static_cast<uint32_t>(wanted);
  out.flags2 = static_cast<uint32_t>(wanted >> 32);
  out.max_background = kMaxBackground;
  out.congestion_threshold = kCongested;
  out.max_write = 4096;
  out.time_gran = 1;
  out.max_pages = kMaxPages;
  fuse_out_header reply{.len = sizeof reply + sizeof out, .error = 0, .unique = header.unique};
  const iovec parts[] = {{&reply, sizeof reply}, {&out, sizeof out}};
  if (::writev(fuse, parts, 2) < 0) return fail_errno("answer FUSE INIT");
  return {};
}

}  // namespace

Result<UniqueFd> open_fuse_mount(const std::string& directory) {
  RUNNEL_TRY(auto fuse, open_file("/dev/fuse", O_RDWR | O_NONBLOCK));
  const auto options = fmt::format(
      "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fuse.get());
  if (::mount("runnel", directory.c_str(), "fuse.runnel", MS_NOSUID | MS_NODEV | MS_RDONLY,
              options.c_str()) != 0) {
    return fail_errno("mount FUSE at {}", directory);
  }
  if (auto answered = answer_init(fuse.get()); !answered) {
    ::umount2(directory.c_str(), MNT_DETACH);
    return std::unexpected(answered.error());
  }
  return fuse;
}

}  // namespace runnel::engine
