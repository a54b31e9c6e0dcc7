// What a crash can leave of a directory, for every moment of a piece of work.
//
// The work runs in a child process, which ptrace(2) stops before each system call that changes
// files. At each stop the directory is made anew in three ways:
//
//   killed       as it is: what SIGKILL leaves
//   lost bytes   names as they are, files with the bytes they had when they were last synced
//   lost all     what fsync(2) of each file and of each directory has promised, and nothing more
//
// The directory must be on tmpfs: there syncing costs nothing, and inode numbers are not used
// again.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace runnel::test {

class CrashStates {
 public:
  // Gets the directory as it would be found after a crash, and what the work has said so far.
  using Check =
      std::function<void(const std::string& directory, const std::set<std::string>& said)>;
  // Says what is so from now on ("+TEXT"), or no longer sure to be so ("-TEXT").
  using Say = std::function<void(const std::string& text)>;
  using Work = std::function<void(const std::string& directory, const Say& say)>;

  CrashStates();
  ~CrashStates();
  CrashStates(const CrashStates&) = delete;
  CrashStates& operator=(const CrashStates&) = delete;

  // False when this machine has no tmpfs at /dev/shm or lets nobody trace.
  bool possible() const { return possible_; }
  // How many states were checked. Stops at the first one that fails. The work is to be of one
  // thread, and to end with `say("+end")`.
  size_t run(const Work& work, const Check& check);

 private:
  using Inode = unsigned long;
  enum class Way { kKilled, kLostBytes, kLostAll };

  void trace(int child, int pipe, const Check& check);
  void read_said(int pipe);
  void at_point(const Check& check);
  void note_sync(int child, int descriptor);
  std::map<std::string, Inode> list(const std::string& path);
  // What the directory has, file by file; also writes it to `to` unless that is empty.
  std::string state(Way way, const std::string& from, Inode inode, const std::string& to);

  bool possible_ = false;
  std::string base_;  // on tmpfs
  std::set<std::string> said_;
  std::string unread_;
  std::map<Inode, std::string> synced_bytes_;
  std::map<Inode, std::map<std::string, Inode>> synced_names_;
  std::set<Inode> directories_;
  std::map<Way, std::string> last_;
  size_t checked_ = 0;
};

}  // namespace runnel::test
