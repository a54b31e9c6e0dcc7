#include "base/durable.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/fd.h"

namespace runnel {

namespace {

std::string parent_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

Result<void> rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return fail_errno("rename {} to {}", from, to);
  return {};
}

}  // namespace

Result<void> make_directories(const std::string& path, mode_t mode, Survives survives) {
  const auto made = [&]() -> Result<void> {
    if (survives == Survives::kProcessDeath) return {};
    return sync_directory(parent_of(path));
  };
  if (::mkdir(path.c_str(), mode) == 0) return made();
  if (errno == EEXIST) {
    struct stat info;
    if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return {};
    return fail(Code::kExists, "{} exists and is not a directory", path);
  }
  if (errno != ENOENT || parent_of(path) == path) return fail_errno("mkdir {}", path);
  RUNNEL_DO(make_directories(parent_of(path), 0755, survives));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return fail_errno("mkdir {}", path);
  return made();
}

Result<void> sync_file(const std::string& path) {
  RUNNEL_TRY(const UniqueFd fd, open_file(path, O_RDONLY));
  if (::fsync(fd.get()) != 0) return fail_errno("fsync {}", path);
  return {};
}

Result<void> sync_directory(const std::string& path) {
  RUNNEL_TRY(const UniqueFd fd, open_file(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return fail_errno("fsync {}", path);
  return {};
}

Result<void> durable_rename(const std::string& from, const std::string& to) {
  RUNNEL_DO(rename(from, to));
  RUNNEL_DO(sync_directory(parent_of(to)));
  if (parent_of(from) != parent_of(to)) return sync_directory(parent_of(from));
  return {};
}

namespace {

Fill all_of(Bytes bytes) {
  return [bytes](const auto& put) { return put(bytes); };
}

}  // namespace

Result<void> create_file(const std::string& path, Bytes bytes, mode_t mode, Survives survives) {
  return create_file_by(path, all_of(bytes), mode, survives);
}

Result<void> create_file_by(const std::string& path, const Fill& fill, mode_t mode,
                            Survives survives) {
  RUNNEL_TRY(const UniqueFd fd, open_file(path, O_WRONLY | O_CREAT | O_EXCL, mode));
  RUNNEL_DO(fill([&fd](Bytes bytes) { return write_all(fd.get(), bytes); }));
  if (survives == Survives::kProcessDeath) return {};
  if (::fsync(fd.get()) != 0) return fail_errno("fsync {}", path);
  return {};
}

Result<void> replace_file(const std::string& path, Bytes bytes, mode_t mode, Survives survives) {
  return replace_file_by(path, all_of(bytes), mode, survives);
}

Result<void> replace_file_by(const std::string& path, const Fill& fill, mode_t mode,
                             Survives survives) {
  static std::atomic<uint64_t> counter{0};
  const auto temporary = fmt::format("{}.tmp.{}.{}", path, ::getpid(), counter++);
  auto outcome = create_file_by(temporary, fill, mode, survives);
  if (outcome)
    outcome = survives == Survives::kPowerLoss ? durable_rename(temporary, path)
                                               : rename(temporary, path);
  if (!outcome) ::unlink(temporary.c_str());
  return outcome;
}

}  // namespace runnel
