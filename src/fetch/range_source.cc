#include "fetch/range_source.h"

namespace runnel::fetch {

const char* to_string(Priority priority) {
  switch (priority) {
    case Priority::kDemand: return "demand";
    case Priority::kPrefetch: return "prefetch";
    case Priority::kBackground: return "background";
  }
  return "unknown";
}

}  // namespace runnel::fetch
