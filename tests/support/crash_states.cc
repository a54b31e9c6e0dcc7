#include "support/crash_states.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace runnel::test {

namespace {

constexpr long kTmpfs = 0x01021994;

bool changes_files(unsigned long number) {
  switch (number) {
    case SYS_write:
    case SYS_pwrite64:
    case SYS_ftruncate:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_rename:
    case SYS_renameat2:
    case SYS_unlink:
    case SYS_unlinkat:
    case SYS_mkdir:
    case SYS_mkdirat:
    case SYS_openat: return true;
    default: return false;
  }
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

unsigned long inode_of(const std::string& path, bool* is_directory = nullptr) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return 0;
  if (is_directory != nullptr) *is_directory = S_ISDIR(info.st_mode);
  return info.st_ino;
}

bool can_trace() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 ? 0 : 1);
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

CrashStates::CrashStates() {
  struct statfs info;
  if (::statfs("/dev/shm", &info) != 0 || info.f_type != kTmpfs) return;
  std::string base = "/dev/shm/runnel-crash.XXXXXX";
  if (::mkdtemp(base.data()) == nullptr) return;
  base_ = base;
  possible_ = can_trace();
}

CrashStates::~CrashStates() {
  std::error_code ignored;
  if (!base_.empty()) std::filesystem::remove_all(base_, ignored);
}

size_t CrashStates::run(const Work& work, const Check& check) {
  const auto directory = base_ + "/work";
  std::filesystem::create_directory(directory);
  int ends[2];
  RUNNEL_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  RUNNEL_CHECK(::fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
  const pid_t child = ::fork();
  RUNNEL_CHECK(child >= 0);
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, 0, 0);
    ::raise(SIGSTOP);
    const auto say = [&](const std::string& text) {
      const auto line = text + "\n";
      RUNNEL_CHECK(::write(ends[1], line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    };
    work(directory, say);
    ::_exit(0);
  }
  ::close(ends[1]);
  trace(child, ends[0], check);
  ::close(ends[0]);
  EXPECT_TRUE(said_.contains("end") || testing::Test::HasFailure());
  return checked_;
}

void CrashStates::trace(int child, int pipe, const Check& check) {
  int status = 0;
  ::waitpid(child, &status, 0);
  ::ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  __ptrace_syscall_info entered{};
  int signal = 0;
  while (::ptrace(PTRACE_SYSCALL, child, 0, signal) == 0 && ::waitpid(child, &status, 0) == child &&
         WIFSTOPPED(status)) {
    signal = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
    if (signal != 0) continue;
    __ptrace_syscall_info info{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info);
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
      entered = info;
      if (!changes_files(info.entry.nr)) continue;
      read_said(pipe);
      at_point(check);
      if (testing::Test::HasFailure()) break;
    } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && info.exit.rval == 0 &&
               (entered.entry.nr == SYS_fsync || entered.entry.nr == SYS_fdatasync)) {
      note_sync(child, static_cast<int>(entered.entry.args[0]));
    }
  }
  if (WIFSTOPPED(status)) {
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
  }
  read_said(pipe);
  if (!testing::Test::HasFailure()) at_point(check);
}

void CrashStates::read_said(int pipe) {
  char buffer[4096];
  for (ssize_t count; (count = ::read(pipe, buffer, sizeof buffer)) > 0;)
    unread_.append(buffer, static_cast<size_t>(count));
  for (size_t end; (end = unread_.find('\n')) != std::string::npos; unread_.erase(0, end + 1)) {
    const auto text = unread_.substr(1, end - 1);
    if (unread_[0] == '+')
      said_.insert(text);
    else
      said_.erase(text);
    last_.clear();  // the same state, but something else is to be true of it
  }
}

void CrashStates::note_sync(int child, int descriptor) {
  const auto link = "/proc/" + std::to_string(child) + "/fd/" + std::to_string(descriptor);
  bool is_directory = false;
  const auto inode = inode_of(link, &is_directory);
  if (is_directory)
    synced_names_[inode] = list(std::filesystem::read_symlink(link).string());
  else
    synced_bytes_[inode] = bytes_of(link);
}

std::map<std::string, CrashStates::Inode> CrashStates::list(const std::string& path) {
  std::map<std::string, Inode> found;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    const auto inode = inode_of(entry.path().string());
    found[entry.path().filename().string()] = inode;
    if (entry.is_directory()) directories_.insert(inode);
  }
  return found;
}

std::string CrashStates::state(Way way, const std::string& from, Inode inode,
                               const std::string& to) {
  std::string text;
  if (!to.empty()) std::filesystem::create_directory(to);
  for (const auto& [name, entry] : way == Way::kLostAll ? synced_names_[inode] : list(from)) {
    if (name.ends_with("-shm")) continue;  // an index in memory, made anew
    const auto path = from + "/" + name;
    const auto target = to.empty() ? "" : to + "/" + name;
    if (directories_.contains(entry)) {
      text += name + "{" + state(way, path, entry, target) + "}";
      continue;
    }
    const auto bytes = way == Way::kKilled ? bytes_of(path) : synced_bytes_[entry];
    if (!to.empty()) std::ofstream(target, std::ios::binary) << bytes;
    text += name + ":" + std::to_string(bytes.size()) + ":" +
            std::to_string(std::hash<std::string>()(bytes)) + ";";
  }
  return text;
}

void CrashStates::at_point(const Check& check) {
  const auto work = base_ + "/work";
  for (const auto way : {Way::kKilled, Way::kLostBytes, Way::kLostAll}) {
    const auto found = state(way, work, inode_of(work), "");
    if (last_.contains(way) && last_[way] == found) continue;
    last_[way] = found;
    const auto copy = base_ + "/copy";
    state(way, work, inode_of(work), copy);
    ++checked_;
    SCOPED_TRACE(testing::Message()
                 << "state " << checked_ << ", way " << static_cast<int>(way) << ": " << found);
    check(copy, said_);
    std::filesystem::remove_all(copy);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace runnel::test
