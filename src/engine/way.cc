#include "engine/way.h"

namespace runnel::engine {

const char* to_string(Way way) {
  switch (way) {
    case Way::kAuto: return "auto";
    case Way::kErofsFile: return "erofs-file";
    case Way::kErofsLoop: return "erofs-loop";
    case Way::kFuse: return "fuse";
  }
  return "unknown";
}

Result<Way> parse_way(std::string_view text) {
  for (const Way way : {Way::kAuto, Way::kErofsFile, Way::kErofsLoop, Way::kFuse}) {
    if (text == to_string(way)) return way;
  }
  return fail(Code::kInvalid, "engine \"{}\": use auto, erofs-file, erofs-loop or fuse", text);
}

}  // namespace runnel::engine
