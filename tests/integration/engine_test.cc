// The engine on this kernel, with real FUSE and EROFS mounts: one suite for every way to mount.
//
// Holder and worker are processes of their own (engine_worker.cc): a test must not read a mount
// that it serves, and a worker has to be killable.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <thread>

#include "base/durable.h"
#include "base/fd.h"
#include "engine/fuse_connection.h"
#include "engine/handover.h"
#include "engine/mounter.h"
#include "engine/probe.h"
#include "engine/way.h"
#include "erofs/writer.h"
#include "support/sample_layer.h"
#include "support/temp_dir.h"

namespace runnel::engine {
namespace {

using test::SampleLayer;

constexpr int kReadyTimeoutMs = 30'000;
constexpr uint32_t kFiles = 120;
constexpr uint32_t kFileBlocks = 24;  // 96 KiB and some

struct File {
  std::string name;
  Buffer contents;
};

// Two layers whose files alternate, and the image that merges them.
struct SampleImage {
  std::vector<File> files;
  std::vector<SampleLayer> layers;
  Buffer metadata;

  static SampleImage make() {
    SampleImage made;
    for (unsigned seed = 1; seed <= 2; ++seed) {
      made.layers.push_back(SampleLayer::make(kFiles / 2, kFileBlocks, seed));
    }
    erofs::Tree tree;
    tree.inodes.resize(1);
    tree.inodes[0].mode = S_IFDIR | 0755;
    for (const auto& layer : made.layers) {
      tree.devices.push_back({.blocks = layer.device.size() / erofs::kBlockSize, .tag = {}});
    }
    for (uint32_t i = 0; i < kFiles; ++i) {
      const uint64_t block = uint64_t{i / 2} * kFileBlocks;
      const uint64_t size = kFileBlocks * erofs::kBlockSize - i * 7;
      const auto name = fmt::format("file{}", i);
      erofs::Inode inode;
      inode.mode = S_IFREG | 0644;
      inode.size = size;
      inode.extents = {{.file_block = 0,
                        .device_block = block,
                        .blocks = kFileBlocks,
                        .device = static_cast<uint16_t>(i % 2 + 1)}};
      tree.inodes[0].entries.push_back({name, i + 1});
      tree.inodes.push_back(std::move(inode));
      const auto view = Bytes(made.layers[i % 2].device).subspan(block * erofs::kBlockSize, size);
      made.files.push_back({.name = name, .contents = Buffer(view.begin(), view.end())});
    }
    made.metadata = erofs::write_image(tree).value();
    return made;
  }

  void write_to(const std::string& input) const {
    ASSERT_TRUE(make_directories(input));
    for (size_t i = 0; i < layers.size(); ++i) {
      const auto base = fmt::format("{}/{}", input, i);
      ASSERT_TRUE(replace_file(base + ".blob", layers[i].blob));
      ASSERT_TRUE(replace_file(base + ".table", layers[i].table.bytes));
      ASSERT_TRUE(replace_file(base + ".digest", layers[i].table.digest));
    }
    ASSERT_TRUE(replace_file(input + "/metadata", metadata));
  }
};

const SampleImage& image() {
  static const SampleImage made = SampleImage::make();
  return made;
}

// A way to mount, and how requests outlive their worker.
struct Mode {
  Way way;
  Recovery recovery;
};

class EngineOnThisKernel : public testing::TestWithParam<Mode> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::access("/dev/fuse", R_OK | W_OK) != 0) {
      GTEST_SKIP() << "skipped: needs root and /dev/fuse";
    }
    // Over loop devices, too, a layer is to be served however much of it is here.
    ::setenv("RUNNEL_FAULT", "move-loops:EIO", 1);
    image().write_to(root() + "/input");
    start();
  }

  void TearDown() override {
    if (holder_ > 0) stop_holder();
    for (const auto* directory : {"/mounts/image", "/devices"}) {
      while (::umount2((root() + directory).c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
      }
    }
  }

  const std::string& root() const { return directory_.path(); }
  std::string path_of(const File& file) const { return root() + "/mounts/image/" + file.name; }

  void start() {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    report_ = UniqueFd(ends[0]);
    ::fcntl(report_.get(), F_SETFD, FD_CLOEXEC);
    const UniqueFd worker_end(ends[1]);
    const auto end = std::to_string(worker_end.get());
    const char* argv[] = {
        ENGINE_WORKER, root().c_str(), to_string(GetParam().way), to_string(GetParam().recovery),
        end.c_str(),   nullptr};
    holder_ = ::fork();
    if (holder_ == 0) {
      ::execv(argv[0], const_cast<char**>(argv));
      ::_exit(127);
    }
    worker_ = await_report();
    ASSERT_GT(worker_, 0) << "the worker did not start";
  }

  // The worker's process ID, once it has mounted or obeyed; -1 when that takes too long.
  pid_t await_report() {
    pollfd waiting{.fd = report_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, kReadyTimeoutMs) != 1) return -1;
    int pid = -1;
    return ::read(report_.get(), &pid, sizeof pid) == sizeof pid ? pid : -1;
  }

  void tell_worker(int signal) {
    ASSERT_EQ(::kill(worker_, signal), 0);
    ASSERT_EQ(await_report(), worker_);
  }

  int stop_holder() {
    ::kill(holder_, SIGTERM);
    int status = 0;
    ::waitpid(std::exchange(holder_, -1), &status, 0);
    return status;
  }

  // The file's bytes, past the page cache's copy if it has one; the errno otherwise.
  static std::expected<Buffer, int> read_file_at(const std::string& path, size_t size,
                                                 int flags = 0) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
    if (!fd) return std::unexpected(errno);
    ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    const size_t room = round_up(size, 4096);
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(4096, room));
    size_t done = 0;
    int error = 0;
    while (done < size) {
      const ssize_t n = ::pread(fd.get(), memory + done, room - done, static_cast<off_t>(done));
      if (n <= 0) {
        error = n < 0 ? errno : ENODATA;
        break;
      }
      done += static_cast<size_t>(n);
    }
    Buffer bytes(memory, memory + done);
    std::free(memory);
    if (error != 0) return std::unexpected(error);
    return bytes;
  }

  // What stat(2) of `path`, below root(), says to another user: 0 or its errno. Whether that user
  // gets as far as root() does not matter.
  int stat_as_nobody(const std::string& path) const {
    constexpr uid_t kNobody = 65534;
    const pid_t child = ::fork();
    if (child == 0) {
      struct stat info{};
      const bool is_nobody = ::chdir(root().c_str()) == 0 && ::setgroups(0, nullptr) == 0 &&
                             ::setresgid(kNobody, kNobody, kNobody) == 0 &&
                             ::setresuid(kNobody, kNobody, kNobody) == 0;
      if (!is_nobody) ::_exit(255);
      ::_exit(::stat(path.c_str(), &info) == 0 ? 0 : errno);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  void expect_whole_tree(int flags = 0) {
    for (const auto& file : image().files) {
      const auto bytes = read_file_at(path_of(file), file.contents.size(), flags);
      ASSERT_TRUE(bytes) << file.name << ": " << strerror(bytes.error());
      ASSERT_TRUE(*bytes == file.contents) << file.name;
    }
  }

  test::TempDir directory_;
  UniqueFd report_;
  pid_t holder_ = -1;
  pid_t worker_ = -1;
};

TEST_P(EngineOnThisKernel, ShowsTheTreeAsItIs) {
  expect_whole_tree();

  size_t seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root() + "/mounts/image")) {
    seen += entry.is_regular_file() ? 1 : 0;
  }
  EXPECT_EQ(seen, image().files.size());
}

TEST_P(EngineOnThisKernel, LetsNoOtherUserEnterItsMounts) {
  ASSERT_EQ(::chmod(root().c_str(), 0711), 0);
  const auto file = "mounts/image/" + image().files[0].name;

  EXPECT_EQ(stat_as_nobody("mounts"), 0) << "the root itself is open";
  EXPECT_EQ(stat_as_nobody(file), EACCES);
}

TEST_P(EngineOnThisKernel, ClosesAMountsDirectoryThatItFindsOpen) {
  ASSERT_EQ(::chmod(root().c_str(), 0711), 0);
  ASSERT_EQ(::chmod((root() + "/mounts").c_str(), 0711), 0);
  ASSERT_EQ(stat_as_nobody("mounts/image"), 0);

  ::kill(worker_, SIGKILL);
  worker_ = await_report();
  ASSERT_GT(worker_, 0);

  EXPECT_EQ(stat_as_nobody("mounts/image"), EACCES);
  expect_whole_tree();
}

// A worker that did not start would let the readers of every other image wait, too.
TEST_P(EngineOnThisKernel, StartsAgainWhenTheRecordOfAMountIsDamaged) {
  const auto& file = image().files[0];
  const UniqueFd old(::open(path_of(file).c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(old);
  std::ofstream(root() + "/mounts/image.json", std::ios::trunc) << "{\"layers\":";

  ::kill(worker_, SIGKILL);
  worker_ = await_report();

  ASSERT_GT(worker_, 0);
  expect_whole_tree();                       // it is mounted anew
  if (GetParam().way == Way::kFuse) return;  // the tree of the mount before is not known any more
  Buffer bytes(file.contents.size());
  EXPECT_EQ(::pread(old.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(bytes, file.contents);
}

TEST_P(EngineOnThisKernel, ServesDirectReadsOrRefusesThem) {
  const auto& first = image().files[0];
  const auto bytes = read_file_at(path_of(first), first.contents.size(), O_DIRECT);
  if (!bytes && bytes.error() == EINVAL && GetParam().way == Way::kErofsFile) {
    return;  // the kernel has no direct reads on file-backed EROFS
  }

  expect_whole_tree(O_DIRECT);
}

TEST_P(EngineOnThisKernel, ServesMappedFiles) {
  for (const auto& file : image().files) {
    const auto fd = open_file(path_of(file), O_RDONLY).value();
    const size_t size = file.contents.size();
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    EXPECT_EQ(std::memcmp(mapped, file.contents.data(), size), 0) << file.name;
    ::munmap(mapped, size);
  }
}

TEST_P(EngineOnThisKernel, KnowsALoopDeviceThatMakesReadsWaitForOneAnother) {
  const auto devices = root() + "/devices";
  ASSERT_TRUE(make_directories(root() + "/trial"));

  const auto parallel = probe_parallel_loops(root() + "/trial", devices);
  const auto one_by_one = probe_parallel_loops(root() + "/trial", devices, false);

  EXPECT_TRUE(parallel.ok) << parallel.reason;
  EXPECT_FALSE(one_by_one.ok);
  EXPECT_EQ(one_by_one.reason, "a read waits until the one before it is answered");
  EXPECT_TRUE(mounts_below(root() + "/trial").value().empty());
}

TEST_P(EngineOnThisKernel, UnmountsEverythingWhenItStopsUnused) {
  expect_whole_tree();

  EXPECT_EQ(stop_holder(), 0);

  EXPECT_TRUE(mounts_below(root()).value().empty());
}

TEST_P(EngineOnThisKernel, KeepsTheLayersOfAMountThatCannotBeMadeAnew) {
  expect_whole_tree();

  tell_worker(SIGWINCH);

  expect_whole_tree();
}

TEST_P(EngineOnThisKernel, ContinuesWhatAnEarlierRunHadFetched) {
  expect_whole_tree();
  ASSERT_EQ(stop_holder(), 0);
  start();

  // Held: whatever is not on disk by now would end with EIO.
  tell_worker(SIGUSR2);
  expect_whole_tree();
}

TEST_P(EngineOnThisKernel, GivesEioForACorruptChunkAndRecovers) {
  tell_worker(SIGUSR1);

  // One chunk of every answer is wrong; its neighbours may be right.
  size_t errors = 0;
  for (const auto& file : image().files) {
    const auto bytes = read_file_at(path_of(file), file.contents.size());
    if (bytes) {
      EXPECT_TRUE(*bytes == file.contents) << file.name;
    } else {
      EXPECT_EQ(bytes.error(), EIO);
      ++errors;
    }
  }
  EXPECT_GT(errors, 0u);

  tell_worker(SIGHUP);
  expect_whole_tree();
}

TEST_P(EngineOnThisKernel, EndsAReadWhenTheSourceStalls) {
  tell_worker(SIGUSR2);
  const auto& file = image().files[3];
  const auto begin = std::chrono::steady_clock::now();

  const auto late = read_file_at(path_of(file), file.contents.size());

  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), EIO);
  // read_timeout is two seconds here; a file in three requests waits little for the second and the
  // third, and not at all for their repetitions page by page.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(3900));
  tell_worker(SIGHUP);
  while (!read_file_at(path_of(file), file.contents.size())) {
  }
  expect_whole_tree();
}

// Readers that need each other's pages wait for each other's requests, which the kernel sends one
// after the other.
TEST_P(EngineOnThisKernel, EndsReadsOfManyReadersWhenTheSourceStalls) {
  using std::chrono::steady_clock;
  tell_worker(SIGUSR2);
  const auto end = steady_clock::now() + std::chrono::seconds(9);
  std::atomic<int64_t> slowest_ms = 0;
  std::atomic<uint64_t> failed = 0;
  std::vector<std::thread> readers;
  for (unsigned seed = 1; seed <= 8; ++seed) {
    readers.emplace_back([&, seed] {
      std::mt19937 random(seed);
      while (steady_clock::now() < end) {
        const auto& file = image().files[random() % image().files.size()];
        const auto begin = steady_clock::now();
        failed += read_file_at(path_of(file), file.contents.size()) ? 0 : 1;
        const auto took = std::chrono::ceil<std::chrono::milliseconds>(steady_clock::now() - begin);
        for (int64_t seen = slowest_ms;
             seen < took.count() && !slowest_ms.compare_exchange_weak(seen, took.count());) {
        }
      }
    });
  }
  for (auto& reader : readers) reader.join();

  EXPECT_GT(failed, 8u);
  EXPECT_LT(slowest_ms, 2 * 2000) << "two timeouts";
  tell_worker(SIGHUP);
  for (const auto& each : image().files) {
    while (!read_file_at(path_of(each), each.contents.size())) {
    }
  }
  expect_whole_tree();
}

TEST_P(EngineOnThisKernel, CountsAReadsTimeOverTheDeathsOfWorkers) {
  ASSERT_TRUE(replace_file(root() + "/input/hold", {}));
  tell_worker(SIGUSR2);
  const auto& file = image().files[3];
  const auto begin = std::chrono::steady_clock::now();
  std::atomic<bool> ended = false;
  std::thread reader([&] {
    EXPECT_FALSE(read_file_at(path_of(file), file.contents.size()));
    ended = true;
  });

  for (const auto after : {std::chrono::milliseconds(700), std::chrono::milliseconds(1400)}) {
    std::this_thread::sleep_until(begin + after);
    EXPECT_FALSE(ended);
    ::kill(worker_, SIGKILL);
    worker_ = await_report();
  }
  reader.join();

  // As above: two seconds, and a little for each further request; were the time counted anew by
  // each worker, it would be 1.4 s more.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(3900));
  ASSERT_EQ(::unlink((root() + "/input/hold").c_str()), 0);
  tell_worker(SIGHUP);
  // What was late is refused for two seconds more, and the kernel read ahead into other files.
  for (const auto& each : image().files) {
    while (!read_file_at(path_of(each), each.contents.size())) {
    }
  }
  expect_whole_tree();
}

// Reads everything over and over from two threads while `disturb` runs.
struct Readers {
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> right = 0;
  std::atomic<uint64_t> wrong = 0;
  std::atomic<uint64_t> failed = 0;
};

TEST_P(EngineOnThisKernel, LosesNothingWhenTheWorkerIsKilled) {
  constexpr int kKills = 15;
  // Longer than the holder takes a worker for one that cannot start.
  constexpr auto kBetweenKills = std::chrono::milliseconds(230);
  Readers readers;
  std::vector<UniqueFd> devices;
  for (const auto& layer : image().layers) {
    const auto path = fmt::format("{}/devices/{}", root(), layer.digest().hex());
    devices.push_back(open_file(path, O_RDONLY).value());
  }
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 3; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      while (!readers.stop) {
        const auto& file = image().files[random() % kFiles];
        // Out of the page cache, so that the worker is asked every time.
        for (const auto& device : devices) {
          ::posix_fadvise(device.get(), 0, 0, POSIX_FADV_DONTNEED);
        }
        const auto bytes = read_file_at(path_of(file), file.contents.size());
        ++(!bytes ? readers.failed : *bytes == file.contents ? readers.right : readers.wrong);
      }
    });
  }

  int kills = 0;
  for (; kills < kKills; ++kills) {
    std::this_thread::sleep_for(kBetweenKills);
    ::kill(worker_, SIGKILL);
    worker_ = await_report();
    if (worker_ <= 0) break;
  }
  readers.stop = true;
  for (auto& thread : threads) thread.join();

  EXPECT_EQ(kills, kKills) << "a worker did not come back";
  EXPECT_EQ(readers.wrong, 0u);
  EXPECT_EQ(readers.failed, 0u);
  EXPECT_GT(readers.right, uint64_t{kKills});
  expect_whole_tree();
}

TEST_P(EngineOnThisKernel, GivesErrorsAndNeverZerosWhenBothAreKilled) {
  // What the network has not brought before the end cannot be read after it.
  tell_worker(SIGUSR2);
  ::kill(holder_, SIGKILL);
  ::waitpid(std::exchange(holder_, -1), nullptr, 0);

  size_t errors = 0;
  for (const auto& file : image().files) {
    const auto bytes = read_file_at(path_of(file), file.contents.size());
    if (bytes) {
      EXPECT_TRUE(*bytes == file.contents) << file.name;
    } else {
      ++errors;
    }
  }

  EXPECT_EQ(errors, image().files.size());
}

TEST_P(EngineOnThisKernel, StartsAnewAfterBothWereKilled) {
  ::kill(holder_, SIGKILL);
  ::waitpid(std::exchange(holder_, -1), nullptr, 0);

  start();

  expect_whole_tree();
}

// Whether `holds` comes to pass in time.
bool comes_true(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

// Whether a child ends in time; it is to be waited for still.
bool ends(pid_t child) {
  const UniqueFd ended(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  pollfd waiting{.fd = ended.get(), .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 20'000) == 1;
}

// Whether all threads of a process that got SIGSTOP stand still: before that, one that waits for
// signals may still take another (proc(5)).
bool is_stopped(pid_t process) {
  const auto tasks = std::filesystem::directory_iterator(fmt::format("/proc/{}/task", process));
  return std::ranges::all_of(tasks, [](const auto& task) {
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("State:")) return line.contains('T');
    return false;
  });
}

// Whether a signal was sent to a process that has not been able to take it (proc(5)).
bool is_pending(pid_t process, int signal) {
  std::ifstream status(fmt::format("/proc/{}/status", process));
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("ShdPnd:")) continue;
    return (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1) != 0;
  }
  return false;
}

// The connection of a FUSE mount, as the kernel shows it (/sys/fs/fuse/connections, if that is
// mounted: Documentation/filesystems/fuse.rst).
class ConnectionControl {
 public:
  explicit ConnectionControl(const std::string& fuse_mount) {
    EXPECT_EQ(::mount("none", at_.path().c_str(), "fusectl", 0, nullptr), 0) << strerror(errno);
    const auto device = mounts_below(fuse_mount).value().at(0).device;
    connection_ = at_.path() + "/" + device.substr(device.find(':') + 1);
  }
  ~ConnectionControl() { ::umount2(at_.path().c_str(), MNT_DETACH); }

  // Requests that nobody has answered.
  int unanswered() const {
    int count = -1;
    std::ifstream(connection_ + "/waiting") >> count;
    return count;
  }
  void abort() const { std::ofstream(connection_ + "/abort") << "1"; }

 private:
  const test::TempDir at_;
  std::string connection_;
};

// What systemd does with FileDescriptorStoreMax=: the descriptors live on, the next start gets
// them.
class DescriptorStore {
 public:
  explicit DescriptorStore(const std::string& path) : path_(path) {
    socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ~DescriptorStore() { ::unsetenv("NOTIFY_SOCKET"); }

  void receive() {
    for (;;) {
      char text[64] = {};
      iovec part{text, sizeof text - 1};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
      msghdr header{};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      header.msg_control = control;
      header.msg_controllen = sizeof control;
      if (::recvmsg(socket_.get(), &header, MSG_DONTWAIT) <= 0) return;
      const cmsghdr* rights = CMSG_FIRSTHDR(&header);
      if (rights == nullptr) continue;
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
      const std::string_view name = text;
      handover_.add(std::string(name.substr(name.find("FDNAME=") + 7)), UniqueFd(fd));
    }
  }
  const Handover& kept() const { return handover_; }

 private:
  const std::string path_;
  UniqueFd socket_;
  Handover handover_;
};

TEST_P(EngineOnThisKernel, GoesOnWhenTheHolderDiesAndItsDescriptorsAreKept) {
  stop_holder();
  DescriptorStore store(root() + "/notify");
  start();
  store.receive();
  ASSERT_TRUE(store.kept().has("fuse"));
  ASSERT_TRUE(store.kept().has("requests"));
  tell_worker(SIGUSR2);  // the first read is under way when both die
  std::atomic<bool> right = false;
  const auto& file = image().files[7];
  std::thread reader([&] {
    const auto bytes = read_file_at(path_of(file), file.contents.size());
    right = bytes && *bytes == file.contents;
  });
  ::kill(holder_, SIGKILL);
  ::waitpid(std::exchange(holder_, -1), nullptr, 0);

  ASSERT_TRUE(store.kept().prepare_exec());
  start();
  ::unsetenv("RUNNEL_FDS");
  reader.join();

  EXPECT_TRUE(right);
  expect_whole_tree();
}

class EngineThatEnds : public EngineOnThisKernel {
 protected:
  // The worker is killed with a read to answer whose reader is gone, and the holder has been told
  // to end. Whether it does.
  void end_with_an_unanswered_read() {
    const ConnectionControl connection(root() + "/devices");
    tell_worker(SIGUSR2);
    const pid_t reader = start_reader(image().files[3]);
    ASSERT_TRUE(comes_true([&] { return connection.unanswered() > 0; }));
    ASSERT_EQ(::kill(worker_, SIGSTOP), 0);
    ASSERT_TRUE(comes_true([&] { return is_stopped(worker_); }));
    ASSERT_EQ(::kill(reader, SIGKILL), 0);
    ASSERT_TRUE(ends(reader));
    ::waitpid(reader, nullptr, 0);
    ASSERT_EQ(::kill(holder_, SIGTERM), 0);
    ASSERT_TRUE(comes_true([&] { return is_pending(worker_, SIGTERM); }));
    EXPECT_GT(connection.unanswered(), 0);

    ASSERT_EQ(::kill(worker_, SIGKILL), 0);

    const bool ended = ends(holder_);
    EXPECT_TRUE(ended) << "it waits for an answer that nobody gives";
    if (!ended) connection.abort();
    EXPECT_EQ(stop_holder(), 0);
  }

  // Of a file that is open already, so that all it asks for is bytes.
  pid_t start_reader(const File& file) {
    const auto fd = open_file(path_of(file), O_RDONLY).value();
    const pid_t reader = ::fork();
    if (reader != 0) return reader;
    char bytes[4096];
    (void)!::read(fd.get(), bytes, sizeof bytes);
    ::_exit(0);
  }
};

TEST_P(EngineThatEnds, LetsGoOfAReadThatNobodyAnswers) {
  end_with_an_unanswered_read();

  EXPECT_TRUE(mounts_below(root()).value().empty());
}

TEST_P(EngineThatEnds, LetsGoOfItWhileAnotherHoldsTheConnection) {
  stop_holder();
  DescriptorStore store(root() + "/notify");
  start();
  store.receive();
  ASSERT_TRUE(store.kept().has("fuse"));

  end_with_an_unanswered_read();

  EXPECT_TRUE(mounts_below(root()).value().empty());
}

std::string name_of(const testing::TestParamInfo<Mode>& each) {
  std::string name = each.param.way == Way::kErofsFile   ? "ErofsFile"
                     : each.param.way == Way::kErofsLoop ? "ErofsLoop"
                                                         : "Fuse";
  if (each.param.recovery == Recovery::kSharedMemory) name += "Shared";
  return name;
}

// The kernel lets the mount go when what is read ahead has ended, which the next worker answers.
TEST_P(EngineThatEnds, LetsAWorkerDieThatUnmountsWhatIsBeingRead) {
  const ConnectionControl connection(root() + "/devices");
  tell_worker(SIGUSR2);
  const pid_t reader = start_reader(image().files[3]);
  ASSERT_TRUE(comes_true([&] { return connection.unanswered() > 0; }));
  ASSERT_EQ(::kill(reader, SIGKILL), 0);
  ASSERT_TRUE(ends(reader));
  ::waitpid(reader, nullptr, 0);
  ASSERT_EQ(::kill(worker_, SIGTERM), 0);
  ASSERT_TRUE(comes_true([&] { return mounts_below(root() + "/mounts").value().empty(); }));

  ::kill(worker_, SIGKILL);

  const pid_t next = await_report();
  EXPECT_GT(next, 0) << "it waits for itself";
  EXPECT_NE(next, worker_);
  if (next <= 0) return connection.abort();
  worker_ = next;
  expect_whole_tree();
}

class EngineOverLoopDevices : public EngineOnThisKernel {};

// One layer's loop device sends 128 requests at once (its queue), and the kernel has so many of a
// FUSE connection under way as the answer to FUSE_INIT allows.
TEST_P(EngineOverLoopDevices, ReadsWhatIsHereHoweverManyReadsOfAnotherLayerWait) {
  constexpr int kStalled = 110;
  const ConnectionControl connection(root() + "/devices");
  const auto& here = image().files[5];
  ASSERT_TRUE(read_file_at(path_of(here), here.contents.size()));
  tell_worker(SIGUSR2);
  std::vector<std::thread> readers;
  readers.reserve(kStalled);
  for (int i = 0; i < kStalled; ++i) {
    // Two blocks of each file of the other layer, each by itself.
    const auto& file = image().files[static_cast<size_t>(i) / 2 * 2];
    readers.emplace_back([fd = open_file(path_of(file), O_RDONLY | O_DIRECT).value(), i] {
      alignas(4096) std::byte block[4096];
      (void)!::pread(fd.get(), block, sizeof block, i % 2 * 10 * 4096);
    });
  }
  EXPECT_TRUE(comes_true([&] { return connection.unanswered() >= kStalled; }))
      << connection.unanswered();
  const auto begin = std::chrono::steady_clock::now();

  const auto bytes = read_file_at(path_of(here), here.contents.size(), O_DIRECT);

  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(bytes) << strerror(bytes.error());
  EXPECT_TRUE(*bytes == here.contents);
  EXPECT_LT(took, std::chrono::milliseconds(700)) << "the others wait two seconds";
  tell_worker(SIGHUP);
  for (auto& reader : readers) reader.join();
}

INSTANTIATE_TEST_SUITE_P(Ways, EngineOnThisKernel,
                         testing::Values(Mode{Way::kErofsFile, Recovery::kAuto},
                                         Mode{Way::kErofsLoop, Recovery::kAuto},
                                         Mode{Way::kFuse, Recovery::kAuto},
                                         Mode{Way::kErofsLoop, Recovery::kSharedMemory},
                                         Mode{Way::kFuse, Recovery::kSharedMemory}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Ways, EngineOverLoopDevices,
                         testing::Values(Mode{Way::kErofsLoop, Recovery::kAuto}), name_of);
INSTANTIATE_TEST_SUITE_P(Ways, EngineThatEnds,
                         testing::Values(Mode{Way::kErofsFile, Recovery::kAuto},
                                         Mode{Way::kErofsLoop, Recovery::kAuto},
                                         Mode{Way::kFuse, Recovery::kAuto}),
                         name_of);

}  // namespace
}  // namespace runnel::engine
