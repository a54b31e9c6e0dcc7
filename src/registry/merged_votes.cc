#include "registry/merged_votes.h"

#include "registry/rate_limiter.h"

namespace runnel::registry {

namespace {

// Two megabytes each, at most. More, and it begins anew.
constexpr size_t kMostKept = 32;
constexpr auto kAskAgain = std::chrono::seconds(5);

Refusal too_many() {
  Refusal refusal(503, "UNAVAILABLE", "too many profiles are being asked for");
  refusal.headers.add("Retry-After", retry_after(kAskAgain));
  return refusal;
}

std::vector<int64_t> versions_of(const std::vector<meta::Document>& votes) {
  std::vector<int64_t> versions;
  versions.reserve(votes.size());
  for (const auto& each : votes) versions.push_back(each.version);
  return versions;
}

}  // namespace

net::awaitable<std::expected<std::shared_ptr<const Voted>, Refusal>> MergedVotes::find(
    std::string repository, oci::Digest image) {
  const auto place = waiting_.take("everybody");
  if (!place) co_return std::unexpected(too_many());
  auto work = [&] { return look_up(repository, image); };
  co_return co_await net::on_pool(thread_, std::move(work));
}

std::expected<std::shared_ptr<const Voted>, Refusal> MergedVotes::look_up(
    const std::string& repository, const oci::Digest& image) {
  RUNNEL_TRY(const auto votes, votes_of(metadata_, repository, image));
  auto versions = versions_of(votes);
  const auto key = fmt::format("{} {}", repository, image);
  if (const auto kept = kept_.find(key); kept != kept_.end() && kept->second.of == versions)
    return kept->second.voted;
  RUNNEL_TRY(auto merged, merge_votes(votes));
  auto voted = std::make_shared<const Voted>(std::move(merged));
  if (kept_.size() >= kMostKept) kept_.clear();
  kept_[key] = {.of = std::move(versions), .voted = voted};
  return voted;
}

}  // namespace runnel::registry
