#include "registry/cut_short.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "base/log.h"
#include "registry/image_conversion.h"

namespace runnel::registry {

namespace {

Result<bool> try_lock(int directory) {
  if (::flock(directory, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return fail_errno("locking the work directory of conversions");
}

Result<void> share_lock(int directory) {
  while (::flock(directory, LOCK_SH) != 0)
    if (errno != EINTR) return fail_errno("locking the work directory of conversions");
  return {};
}

}  // namespace

Result<UniqueFd> clear_what_was_cut_short(const std::string& work_directory, Uploads& uploads) {
  RUNNEL_TRY(auto directory, open_file(work_directory, O_RDONLY | O_DIRECTORY));
  RUNNEL_TRY(const bool alone, try_lock(directory.get()));
  if (alone) {
    RUNNEL_TRY(const size_t count, uploads.abandon(kConverter));
    if (count > 0) log::info("threw away {} uploads of conversions that were cut short", count);
  }
  RUNNEL_DO(share_lock(directory.get()));
  return directory;
}

}  // namespace runnel::registry
