#include "install/text_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "base/durable.h"
#include "base/fd.h"
#include "codec/sha256.h"

namespace runnel::install {

namespace {

namespace fs = std::filesystem;

// containerd takes what ends in .toml, .crt, .cert and .key; neither of these may.
constexpr const char* kHalfWritten = ".runnel-new";
constexpr const char* kSaved = ".runnel-saved";

// Where the text is already, or a file can be made for it.
Result<bool> has_or_can_take(const std::string& path, const std::string& text) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return true;
    return fail_errno("lstat {}", path);
  }
  const auto there = read_file(path, kMaxTextFile);
  return there && as_text(*there) == text;
}

}  // namespace

Result<std::optional<std::string>> read_if_there(const std::string& path) {
  const auto bytes = read_file(path, kMaxTextFile);
  if (bytes) return std::string(as_text(*bytes));
  if (bytes.error().code == Code::kNotFound) return std::nullopt;
  return std::unexpected(bytes.error());
}

std::string hash_of(const std::string& text) {
  return to_hex(codec::sha256(as_bytes(text)));
}

Result<void> write_text(const std::string& path, const std::string& text, const Ownership& owner) {
  RUNNEL_DO(make_directories(fs::path(path).parent_path().string()));
  const auto next = path + kHalfWritten;
  RUNNEL_DO(replace_file(next, as_bytes(text), 0600));
  if (::chown(next.c_str(), owner.uid, owner.gid) != 0) return fail_errno("chown {}", next);
  if (::chmod(next.c_str(), owner.mode) != 0) return fail_errno("chmod {}", next);
  return durable_rename(next, path);
}

Result<void> remove_text(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("unlink {}", path);
  return sync_directory(fs::path(path).parent_path().string());
}

void remove_half_written(const std::string& path) {
  ::unlink((path + kHalfWritten).c_str());
}

Result<std::string> save_beside(const std::string& path, const std::string& text) {
  for (unsigned taken = 0;; ++taken) {
    const auto name = path + kSaved + (taken == 0 ? std::string() : fmt::format(".{}", taken));
    RUNNEL_TRY(const bool good, has_or_can_take(name, text));
    if (!good) continue;
    RUNNEL_DO(replace_file(name, as_bytes(text), 0600));
    return name;
  }
}

bool is_saved_name(std::string_view name) {
  const auto suffix = name.rfind(kSaved);
  if (suffix == std::string_view::npos) return false;
  const auto rest = name.substr(suffix + std::strlen(kSaved));
  return rest.empty() || rest.starts_with('.');
}

}  // namespace runnel::install
