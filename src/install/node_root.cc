#include "install/node_root.h"

#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace runnel::install {

namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 7> kDirectories = {"cache",  "devices", "images", "install",
                                                          "mounts", "probe",   "s"};
constexpr std::array<std::string_view, 7> kFiles = {
    "control.sock",  // `--root` of the commands that ask the node means this one
    "logins.json",          "node-id",          "snapshots.db",
    "snapshots.db-journal", "snapshots.db-shm", "snapshots.db-wal"};

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

}  // namespace

Result<std::string> remove_node_root(const std::string& root) {
  std::error_code error;
  std::string left;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    const auto name = entry.path().filename().string();
    std::error_code removing;
    if (!is_the_nodes(name)) {
      left = name;
    } else {
      fs::remove_all(entry.path(), removing);
    }
    if (removing) return fail(Code::kConflict, "{}: {}", entry.path().string(), removing.message());
  }
  if (!error && left.empty()) fs::remove(root, error);
  if (error && error != std::errc::no_such_file_or_directory)
    return fail(Code::kConflict, "{}: {}", root, error.message());
  return left;
}

}  // namespace runnel::install
