#include "engine/way.h"

namespace runnel::engine {

const char* to_string(Way way) {
  switch (way) {
    case Way::kAuto: return "auto";
    case Way::kErofsFile: return "erofs-file";
    case Way::kErofsLoop: return "erofs-loop";
  }
  return "unknown";
}

Result<Way> parse_way(std::string_view text) {
  for (const Way way : {Way::kAuto, Way::kErofsFile, Way::kErofsLoop}) {
    if (text == to_string(way)) return way;
  }
  if (text == "fuse") {
    return fail(Code::kUnsupported,
                "engine fuse is not built yet; use auto, erofs-file or erofs-loop");
  }
  return fail(Code::kInvalid, "engine \"{}\": use auto, erofs-file or erofs-loop", text);
}

}  // namespace runnel::engine
