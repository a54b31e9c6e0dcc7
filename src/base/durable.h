// Files and directories whose change survives power loss once the call has returned; or, where that
// is said, the end of this process only, which costs no disk: for what is nothing without something
// else that is gone then (a mount), or is made durable later together with others.
//
// The order is always: write the bytes to a temporary name, fsync them, rename into place, fsync
// the directory. A reader sees the old file or the new one, never a mixture.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace runnel {

enum class Survives : uint8_t { kPowerLoss, kProcessDeath };

// Creates `path` and its parents (mode 0755 and `mode` for the last); it may exist already.
Result<void> make_directories(const std::string& path, mode_t mode = 0755,
                              Survives survives = Survives::kPowerLoss);

// fsyncs the file at `path`: what was written to it before is durable now, its name is not.
Result<void> sync_file(const std::string& path);

// fsyncs the directory at `path`: names created, renamed or removed in it before are durable now.
Result<void> sync_directory(const std::string& path);

// Renames and makes the new name durable. Both must be in one file system.
Result<void> durable_rename(const std::string& from, const std::string& to);

// Creates the file at `path`, which must not be there, and makes its bytes durable, but not its
// name: for several files of one directory, which sync_directory() then names in one go.
Result<void> create_file(const std::string& path, Bytes bytes, mode_t mode = 0644,
                         Survives survives = Survives::kPowerLoss);
// The same for bytes that `fill` hands to its argument in pieces. An error of `fill` is returned,
// and the file then holds what came before.
using Fill = std::function<Result<void>(const std::function<Result<void>(Bytes)>&)>;
Result<void> create_file_by(const std::string& path, const Fill& fill, mode_t mode = 0644,
                            Survives survives = Survives::kPowerLoss);

// Replaces or creates the file at `path` with these bytes. On failure the old file is untouched and
// no temporary file is left. Who looks at it, or comes after this process, sees the old bytes or
// the new ones; after a power loss that it does not survive it may hold anything.
Result<void> replace_file(const std::string& path, Bytes bytes, mode_t mode = 0644,
                          Survives survives = Survives::kPowerLoss);
// As both: pieces, and all or nothing.
Result<void> replace_file_by(const std::string& path, const Fill& fill, mode_t mode = 0644,
                             Survives survives = Survives::kPowerLoss);

}  // namespace runnel
