#include "engine/watch.h"

namespace runnel::engine {

Watch::Verdict Watch::tick(SignsOfLife signs) {
  const bool beat = signs.beats != last_.beats;
  const bool breath = signs.breaths != last_.breaths;
  last_ = signs;
  if (age_ <= kStartTicks) ++age_;
  breathless_ = breath ? 0 : breathless_ + 1;
  if (beat) {
    quiet_ = 0;
    serves_ = true;
    return Verdict::kFine;
  }
  if (quiet_ <= patience_ + kGraceTicks) ++quiet_;
  if (!killed_ && stands_still()) {
    killed_ = true;
    return Verdict::kKill;
  }
  return quiet_ > patience_ + kGraceTicks ? Verdict::kRefuse : Verdict::kFine;
}

bool Watch::stands_still() const {
  if (ends_) return breathless_ > patience_;
  if (serves_) return quiet_ > patience_;
  return breathless_ > std::max(patience_, kBreathlessTicks) || age_ > kStartTicks;
}

}  // namespace runnel::engine
