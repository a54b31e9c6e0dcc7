#include "engine/side_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "base/fd.h"
#include "support/temp_dir.h"

namespace runnel::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Pipe {
  static Pipe make() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    return {.reading = UniqueFd(ends[0]), .writing = UniqueFd(ends[1])};
  }

  UniqueFd reading;
  UniqueFd writing;
};

TEST(SideProcess, AnswersWithWhatTheCallsReturned) {
  EXPECT_EQ(run_beside("answer", seconds(10), [] { return 42; }).value(), 42);
}

TEST(SideProcess, IsAnotherProcessThatSharesMemory) {
  const auto seen = std::make_shared<std::atomic<pid_t>>(0);

  ASSERT_TRUE(run_beside("write", seconds(10), [seen] {
    *seen = ::getpid();
    return 0;
  }));

  EXPECT_NE(*seen, 0);
  EXPECT_NE(*seen, ::getpid());
}

TEST(SideProcess, HoldsNoDescriptorOfOurs) {
  const auto pipe = Pipe::make();

  const auto seen = run_beside("look", seconds(10), [fd = pipe.reading.get()] {
    return ::fcntl(fd, F_GETFD) == -1 && errno == EBADF ? 1 : 0;
  });

  EXPECT_EQ(seen.value(), 1);
  EXPECT_NE(::fcntl(pipe.reading.get(), F_GETFD), -1) << "ours stays open";
}

TEST(SideProcess, DoesNotDisturbTheCallersErrno) {
  errno = EMLINK;

  ASSERT_TRUE(run_beside("fail", seconds(10), [] { return ::close(-1) == -1 ? 0 : 1; }));

  EXPECT_EQ(errno, EMLINK);
}

TEST(SideProcess, IsGivenUpAndKilledWhenItTakesTooLong) {
  const auto process = std::make_shared<std::atomic<pid_t>>(0);

  const auto hung = run_beside("hang", milliseconds(300), [process] {
    *process = ::getpid();
    for (;;) ::pause();
    return 0;
  });

  ASSERT_FALSE(hung);
  EXPECT_EQ(hung.error().code, Code::kUnavailable);
  EXPECT_NE(hung.error().message.find("hang: not done within 300 ms"), std::string::npos)
      << hung.error().message;
  ASSERT_NE(*process, 0);
  // Killed, and perhaps reaped already by a thread that we do not see.
  const UniqueFd killed(static_cast<int>(::syscall(SYS_pidfd_open, process->load(), 0)));
  pollfd waiting{.fd = killed.get(), .events = POLLIN, .revents = 0};
  if (killed.get() >= 0) {
    EXPECT_EQ(::poll(&waiting, 1, 10'000), 1);
  }
}

TEST(SideProcess, SaysThatItDied) {
  const auto died = run_beside("die", seconds(10), [] {
    ::kill(::getpid(), SIGKILL);
    return 0;
  });

  ASSERT_FALSE(died);
  EXPECT_EQ(died.error().message, "die: its process died");
}

TEST(SideProcess, LeavesNoChildAndNoDescriptor) {
  const auto free_descriptor = [] { return UniqueFd(::dup(0)).get(); };
  const int before = free_descriptor();

  for (int i = 0; i < 50; ++i) ASSERT_EQ(run_beside("count", seconds(10), [i] { return i; }), i);

  EXPECT_EQ(free_descriptor(), before);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

// A named pipe, to be heard and told things by a process that has nothing of ours.
struct NamedPipe {
  explicit NamedPipe(std::string at) : path(std::move(at)) {
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    ours = UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  }
  bool comes() const {
    pollfd waiting{.fd = ours.get(), .events = POLLIN, .revents = 0};
    char byte;
    return ::poll(&waiting, 1, 20'000) == 1 && ::read(ours.get(), &byte, 1) == 1;
  }

  const std::string path;
  UniqueFd ours;
};

// A mount that waits for the FUSE requests which its own process was to answer.
TEST(SideProcess, GoesOnWhenOursIsKilled) {
  const test::TempDir directory;
  const NamedPipe begun(directory.path() + "/begun");
  const NamedPipe answer(directory.path() + "/answer");
  const NamedPipe done(directory.path() + "/done");
  const pid_t ours = ::fork();
  ASSERT_GE(ours, 0);
  if (ours == 0) {
    (void)run_beside("wait", seconds(60), [&] {
      char byte = 0;
      (void)!::write(::open(begun.path.c_str(), O_WRONLY), &byte, 1);
      (void)!::read(::open(answer.path.c_str(), O_RDONLY), &byte, 1);
      (void)!::write(::open(done.path.c_str(), O_WRONLY), &byte, 1);
      return 0;
    });
    ::_exit(0);
  }
  ASSERT_TRUE(begun.comes());

  ASSERT_EQ(::kill(ours, SIGKILL), 0);
  ASSERT_EQ(::waitpid(ours, nullptr, 0), ours) << "it does not wait for what it began";

  ASSERT_EQ(::write(answer.ours.get(), "", 1), 1);
  EXPECT_TRUE(done.comes());
}

// Of this thread, and of those that it starts (with clone3(2)).
void refuse_clone(int error) {
  sock_filter steps[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(steps), .filter = steps};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST(SideProcess, SaysWhyThereIsNone) {
  std::thread([] {
    refuse_clone(EAGAIN);

    const auto refused = run_beside("begin", seconds(10), [] { return 0; });

    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("begin: clone"), std::string::npos)
        << refused.error().message;
    EXPECT_NE(refused.error().message.find(strerror(EAGAIN)), std::string::npos)
        << refused.error().message;
  }).join();
}

TEST(SideProcess, DoesNotGoOnWhenItWasGivenUpBeforeItBegan) {
  const auto begun = std::make_shared<std::array<std::atomic<pid_t>, 100>>();

  for (auto& process : *begun) {
    EXPECT_FALSE(run_beside("hang", milliseconds(0), [begun, &process] {
      process = ::getpid();
      for (;;) ::pause();
      return 0;
    }));
  }

  const auto deadline = std::chrono::steady_clock::now() + seconds(20);
  while (::waitpid(-1, nullptr, WNOHANG) != -1 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  for (auto& process : *begun) {
    if (process == 0) continue;
    EXPECT_EQ(::kill(process, SIGKILL), -1) << "it goes on, and nobody waits";
  }
}

// The stack that a trial's read of a block needs, and more.
TEST(SideProcess, HasAStackOfItsOwn) {
  const auto seen = run_beside("use the stack", seconds(10), [] {
    std::array<volatile char, 128 * 1024> bytes;
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i);
    return static_cast<int>(bytes[77]);
  });

  EXPECT_EQ(seen.value(), 77);
}

}  // namespace
}  // namespace runnel::engine
