// What nodes said of the starts of an image (artifact/profile.h): a vote of each, kept in the
// metadata until the image is gone, and what they have in common.
//
// A vote changes what a boot blob brings first, never what a file has in it, so whoever has logged
// in and may pull an image may vote. Still: one node, one vote, and who logged in names as many
// nodes as they like, so one principal has few of an image's votes. A new node then takes the place
// of the one that voted longest ago, of its principal or of all. (Votes that are cast at the same
// time may be more for a moment, until the next one is.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "artifact/profile.h"
#include "base/error.h"
#include "meta/metadata_store.h"

namespace runnel::registry {

// Of an image.
inline constexpr size_t kMaxVotes = 64;
// Of them, a principal's.
inline constexpr size_t kMaxVotesOfPrincipal = 8;
// Of a vote's JSON. A start that reads 40,000 chunks fits.
inline constexpr size_t kMaxVoteBytes = 512 * 1024;

struct Voter {
  std::string principal;  // empty: there is no authentication, and whoever tells is another one
  std::string node;
};

struct Voted {
  artifact::Profile profile;  // of all votes together
  size_t votes = 0;
};

// kExhausted for a profile above kMaxVoteBytes. Its layers and chunks are not looked at: they are
// matched with an image when a boot blob is made.
Result<void> cast_vote(meta::MetadataStore& metadata, std::string_view repository,
                       const oci::Digest& image, const Voter& voter,
                       const artifact::Profile& profile);

// As they were cast. Another set of votes has another set of versions.
Result<std::vector<meta::Document>> votes_of(meta::MetadataStore& metadata,
                                             std::string_view repository, const oci::Digest& image);
// What they have in common: seconds for many large ones. Without votes it is empty.
Result<Voted> merge_votes(const std::vector<meta::Document>& votes);
// Both.
Result<Voted> count_votes(meta::MetadataStore& metadata, std::string_view repository,
                          const oci::Digest& image);

struct VotedImage {
  std::string repository;
  oci::Digest image;
  std::string after;  // where the next one comes
};

// The first image that has votes and comes after `after` (or from the beginning, when that is
// empty), in the store's order; empty at the end.
Result<std::optional<VotedImage>> next_voted(meta::MetadataStore& metadata, std::string after);

// Looks at some votes, those that come after `after` in the store's order, and forgets those of
// images that are gone. Where to go on; empty at the end.
Result<std::string> forget_votes_of_absent(meta::MetadataStore& metadata, const std::string& after);

}  // namespace runnel::registry
