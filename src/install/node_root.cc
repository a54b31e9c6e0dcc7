#include "install/node_root.h"

#include <fcntl.h>
#include <sys/file.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "base/fd.h"

namespace runnel::install {

namespace {

namespace fs = std::filesystem;

constexpr auto kPoll = std::chrono::milliseconds(100);
// By which a purge knows a node's root: it goes last, so that one that failed can be repeated.
constexpr std::string_view kNodeId = "node-id";
constexpr std::array<std::string_view, 7> kDirectories = {"cache",  "devices", "images", "install",
                                                          "mounts", "probe",   "s"};
constexpr std::array<std::string_view, 7> kFiles = {
    "control.sock",  // `--root` of the commands that ask the node means this one
    "logins.json",      kNodeId,           "snapshots.db", "snapshots.db-journal",
    "snapshots.db-shm", "snapshots.db-wal"};

// "node-id", or a file that was to take its place when the node died ("node-id.tmp.123.0").
bool is_named(std::string_view name, std::string_view file) {
  return name == file || (name.starts_with(file) && name.substr(file.size()).starts_with(".tmp."));
}

bool is_the_nodes(const std::string& name) {
  for (const auto directory : kDirectories)
    if (name == directory) return true;
  for (const auto file : kFiles)
    if (is_named(name, file)) return true;
  return false;
}

// A node has its root locked for as long as it lives (engine/root_lock.h).
Result<UniqueFd> lock_when_its_node_has_ended(const std::string& root, Duration patience) {
  RUNNEL_TRY(auto directory, open_file(root, O_RDONLY | O_DIRECTORY));
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (::flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno("lock {}", root);
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(
          Code::kConflict,
          "a node still runs from {}: stop it, then `runnel node uninstall --purge` removes "
          "what it keeps",
          root);
    std::this_thread::sleep_for(kPoll);
  }
  return directory;
}

}  // namespace

Result<std::string> remove_node_root(const std::string& root, Duration patience) {
  const auto lock = lock_when_its_node_has_ended(root, patience);
  if (!lock && lock.error().code == Code::kNotFound) return std::string();
  if (!lock) return std::unexpected(lock.error());
  std::error_code error;
  std::string left;
  std::vector<fs::path> last;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    const auto name = entry.path().filename().string();
    std::error_code removing;
    if (!is_the_nodes(name)) {
      left = name;
    } else if (is_named(name, kNodeId)) {
      last.push_back(entry.path());
    } else {
      fs::remove_all(entry.path(), removing);
    }
    if (removing) return fail(Code::kConflict, "{}: {}", entry.path().string(), removing.message());
  }
  for (const auto& path : last) fs::remove(path, error);
  if (!error && left.empty()) fs::remove(root, error);
  if (error) return fail(Code::kConflict, "{}: {}", root, error.message());
  return left;
}

}  // namespace runnel::install
