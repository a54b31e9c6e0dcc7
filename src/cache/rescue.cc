#include "cache/rescue.h"

#include <algorithm>
#include <utility>

#include "fetch/read_through.h"

namespace runnel::cache {

namespace {

constexpr Duration kRest = std::chrono::seconds(1);
constexpr Duration kLongestRest = std::chrono::seconds(60);
constexpr Duration kLongestRestForReaders = std::chrono::seconds(15);

}  // namespace

Result<void> restore_from(const Original& original, const artifact::ChunkTable& table,
                          const Clock& clock, artifact::ChunkRestorer::Sink sink,
                          const std::function<void(size_t)>& came) {
  const auto restore = [&]() -> Result<void> {
    artifact::ChunkRestorer restorer(table, original.diff_id, std::move(sink));
    oci::Digester digester(original.digest.algorithm());
    RUNNEL_DO(fetch::read_through(*original.source, clock, {.priority = fetch::Priority::kPrefetch},
                                  [&](Bytes bytes) {
                                    came(bytes.size());
                                    digester.update(bytes);
                                    return restorer.feed(bytes);
                                  }));
    RUNNEL_DO(restorer.finish());
    if (const auto digest = digester.finish(); digest != original.digest) {
      return fail(Code::kInvalid, "its bytes are {}", digest);
    }
    return {};
  }();
  if (restore) return {};
  return std::unexpected(
      restore.error().in(fmt::format("layer {} of {}", original.digest, original.name)));
}

void Rescue::add(const Original& original) {
  const bool known = std::ranges::any_of(originals_, [&](const Original& other) {
    return other.name == original.name && other.digest == original.digest;
  });
  if (!known) originals_.push_back(original);
}

std::string Rescue::registry() const {
  const auto& name = originals_.front().name;
  return name.substr(0, name.find('/'));
}

void Rescue::want(Cause cause, bool waited_for) {
  wanted_ = possible() && !running_;
  loss_ = loss_ || cause == Cause::kLoss;
  waited_for_ = waited_for_ || waited_for;
}

bool Rescue::begin(SteadyTime now) {
  if (!wanted_ || now < (waited_for_ ? not_before_for_readers_ : not_before_)) return false;
  wanted_ = false;
  running_ = true;
  source_works_ = false;
  return true;
}

void Rescue::source_worked(SteadyTime now) {
  source_works_ = true;
  source_worked_at_ = now;
}

void Rescue::ended(const Result<void>& outcome, SteadyTime now) {
  const bool good = outcome || pointless();
  running_ = false;
  wanted_ = false;
  loss_ = false;
  waited_for_ = false;
  failures_ = good ? 0 : failures_ + 1;
  error_ = good ? "" : outcome.error().message;
  denied_ = !good && outcome.error().code == Code::kDenied;
  const Duration rest = kRest * (1 << std::clamp(failures_ - 1, 0, 6));
  not_before_ = now + std::min(rest, kLongestRest);
  not_before_for_readers_ = now + std::min(rest, kLongestRestForReaders);
}

void Rescue::credentials_changed() {
  if (!std::exchange(denied_, false)) return;
  failures_ = 0;
  not_before_ = not_before_for_readers_ = {};
}

}  // namespace runnel::cache
