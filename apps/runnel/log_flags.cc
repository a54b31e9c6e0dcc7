#include "roles.h"

namespace runnel {

Result<void> set_log(log::Options& options, const LogFlags& flags) {
  if (flags.level) {
    RUNNEL_TRY(options.level, log::parse_level(*flags.level));
  }
  if (flags.format) {
    RUNNEL_TRY(options.format, log::parse_format(*flags.format));
  }
  return {};
}

}  // namespace runnel
