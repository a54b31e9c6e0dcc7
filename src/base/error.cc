#include "base/error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace runnel {

const char* to_string(Code code) {
  switch (code) {
    case Code::kInvalid: return "invalid";
    case Code::kNotFound: return "not found";
    case Code::kExists: return "already exists";
    case Code::kDenied: return "denied";
    case Code::kConflict: return "conflict";
    case Code::kUnsupported: return "unsupported";
    case Code::kUnavailable: return "unavailable";
    case Code::kExhausted: return "exhausted";
    case Code::kCancelled: return "cancelled";
  }
  return "unknown";
}

namespace {

Code code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR: return Code::kNotFound;
    case EEXIST:
    case ENOTEMPTY: return Code::kExists;
    case EACCES:
    case EPERM:
    case EROFS: return Code::kDenied;
    case EBUSY: return Code::kConflict;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP: return Code::kInvalid;
    case ENOSYS:
    case EOPNOTSUPP: return Code::kUnsupported;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE: return Code::kExhausted;
    case ECANCELED: return Code::kCancelled;
    default: return Code::kUnavailable;
  }
}

}  // namespace

Error system_error(int error_number, std::string what) {
  return {code_of(error_number),
          fmt::format("{}: {}", what, std::generic_category().message(error_number))};
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "runnel: bug: %s:%d: %s is false\n", file, line, condition);
  std::abort();
}

}  // namespace runnel
