#include "registry/profile_votes.h"

#include <algorithm>

#include "artifact/merged_profile.h"

namespace runnel::registry {

namespace {

constexpr std::string_view kKind = "profile-vote";
constexpr size_t kDigits = 16;  // of a principal, and of one of its nodes
constexpr size_t kSweep = 100;
constexpr size_t kAtOnce = 16;  // votes that are cast at the same time, mostly fewer
constexpr int kAttempts = 10;   // to replace a vote that is cast twice at a time

// Of a name that may have any length.
std::string digits_of(std::string_view name) {
  return std::string(oci::Digest::of(as_bytes(name)).hex().substr(0, kDigits));
}

// "team/app sha256:… 0123456789abcdef0123456789abcdef": a space is in no name, and sorts before all
// that may be. The last part is the principal, and the node. (Votes that have been there for long
// may have 16 digits for both.)
std::string prefix_of(std::string_view repository, const oci::Digest& image) {
  return fmt::format("{} {} ", repository, image);
}

// What the name of a vote begins with; empty for a name that is none of ours.
std::optional<std::pair<std::string, oci::Digest>> voted_in(const std::string& name) {
  const auto space = name.find(' ');
  const auto end = name.rfind(' ');
  auto image =
      oci::Digest::parse(std::string_view(name).substr(space + 1, end - std::min(end, space + 1)));
  if (!image) return std::nullopt;
  return std::pair(name.substr(0, space), *std::move(image));
}

// At most `limit` of those whose names begin with the prefix.
Result<std::vector<meta::Document>> votes_with(meta::MetadataStore& metadata,
                                               const std::string& prefix, size_t limit) {
  RUNNEL_TRY(auto votes, metadata.documents(kKind, prefix, limit));
  std::erase_if(votes, [&](const auto& each) { return !each.name.starts_with(prefix); });
  return votes;
}

// Forgets the oldest of those whose names begin with the prefix, so that fewer than `most` are
// left: one, mostly, but votes that are cast at the same time find the same room.
Result<void> forget_oldest(meta::MetadataStore& metadata, const std::string& prefix, size_t most) {
  const auto page = most + kAtOnce;
  for (bool all = false; !all;) {
    RUNNEL_TRY(auto votes, votes_with(metadata, prefix, page));
    all = votes.size() < page;
    if (votes.size() < most) return {};
    std::ranges::sort(votes, {}, &meta::Document::version);
    votes.resize(votes.size() - most + 1);
    for (const auto& each : votes) {
      RUNNEL_TRY([[maybe_unused]] const bool existed, metadata.delete_document(kKind, each.name));
    }
  }
  return {};
}

// For a vote whose name begins with `prefix` and then `principal`, which is empty for anyone's.
Result<void> make_room(meta::MetadataStore& metadata, const std::string& prefix,
                       const std::string& principal) {
  if (!principal.empty())
    RUNNEL_DO(forget_oldest(metadata, prefix + principal, kMaxVotesOfPrincipal));
  return forget_oldest(metadata, prefix, kMaxVotes);
}

}  // namespace

Result<void> cast_vote(meta::MetadataStore& metadata, std::string_view repository,
                       const oci::Digest& image, const Voter& voter,
                       const artifact::Profile& profile) {
  const auto body = artifact::to_json(profile);
  if (body.size() > kMaxVoteBytes)
    return fail(Code::kExhausted, "a profile of {} bytes, at most {}", body.size(), kMaxVoteBytes);
  const auto prefix = prefix_of(repository, image);
  const auto principal = voter.principal.empty() ? std::string() : digits_of(voter.principal);
  const auto name = prefix + principal + digits_of(voter.principal + "\n" + voter.node);
  for (int attempt = 1;; ++attempt) {
    RUNNEL_TRY(const auto before, metadata.document(kKind, name));
    if (!before) RUNNEL_DO(make_room(metadata, prefix, principal));
    const auto put = metadata.put_document(kKind, name, body, before ? before->version : 0);
    if (put) return {};
    if (put.error().code != Code::kConflict || attempt == kAttempts)
      return std::unexpected(put.error());
  }
}

Result<std::vector<meta::Document>> votes_of(meta::MetadataStore& metadata,
                                             std::string_view repository,
                                             const oci::Digest& image) {
  return votes_with(metadata, prefix_of(repository, image), kMaxVotes);
}

Result<Voted> merge_votes(const std::vector<meta::Document>& votes) {
  std::vector<artifact::Profile> profiles;
  for (const auto& each : votes) {
    auto profile = artifact::parse_profile(as_bytes(each.body));
    if (!profile) return std::unexpected(profile.error().in(each.name));
    profiles.push_back(*std::move(profile));
  }
  return Voted{.profile = artifact::merge_profiles(profiles), .votes = profiles.size()};
}

Result<Voted> count_votes(meta::MetadataStore& metadata, std::string_view repository,
                          const oci::Digest& image) {
  RUNNEL_TRY(const auto votes, votes_of(metadata, repository, image));
  return merge_votes(votes);
}

Result<std::optional<VotedImage>> next_voted(meta::MetadataStore& metadata, std::string after) {
  for (;;) {
    RUNNEL_TRY(const auto votes, metadata.documents(kKind, after, 1));
    if (votes.empty()) return std::nullopt;
    after = votes.front().name;
    const auto voted = voted_in(after);
    if (!voted) continue;
    const auto& [repository, image] = *voted;
    // Voters are hexadecimal digits, all of which come before this.
    return VotedImage{repository, image, prefix_of(repository, image) + "~"};
  }
}

Result<std::string> forget_votes_of_absent(meta::MetadataStore& metadata,
                                           const std::string& after) {
  RUNNEL_TRY(const auto votes, metadata.documents(kKind, after, kSweep));
  for (const auto& each : votes) {
    const auto voted = voted_in(each.name);
    bool present = false;
    if (voted) {
      RUNNEL_TRY(const auto info, metadata.manifest_info(voted->first, voted->second));
      present = info.has_value();
    }
    if (present) continue;
    RUNNEL_TRY([[maybe_unused]] const bool existed, metadata.delete_document(kKind, each.name));
  }
  return votes.size() < kSweep ? std::string() : votes.back().name;
}

}  // namespace runnel::registry
