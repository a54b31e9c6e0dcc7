// What an owner may switch off on a repository, a tag or a manifest: reading, writing, deleting,
// listing. Everything is on until somebody switches it off.
//
// They are kept by name. What is restored has those of before; a push that begins a name anew,
// which nothing has any more, begins without (begin_names_anew), because nobody could switch them
// on again. They are looked up before the request's own transaction, so a request that has begun is
// not stopped.
#pragma once

#include <array>
#include <expected>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "meta/metadata_store.h"
#include "net/server.h"
#include "registry/reply.h"
#include "registry/route.h"

namespace runnel::registry {

enum class Attribute : uint8_t { kRead, kWrite, kDelete, kList };
inline constexpr size_t kAttributes = 4;

// "readEnabled", …: as the API spells them.
std::string_view attribute_name(Attribute attribute);

struct Attributes {
  bool has(Attribute attribute) const { return on[static_cast<size_t>(attribute)]; }
  void set(Attribute attribute, bool to) { on[static_cast<size_t>(attribute)] = to; }
  bool operator==(const Attributes&) const = default;

  std::array<bool, kAttributes> on = {true, true, true, true};
};

// All that is switched off in one repository, as it was when it was read.
class RepositoryAttributes {
 public:
  static Result<RepositoryAttributes> load(meta::MetadataStore& metadata,
                                           std::string_view repository);
  // The repository's own, and those of its tags and digests after `after` up to `last`.
  static Result<RepositoryAttributes> load_between(meta::MetadataStore& metadata,
                                                   std::string_view repository,
                                                   std::string_view after, std::string_view last);

  // Of the repository itself, or of a tag or digest in it.
  Attributes own() const { return of("*"); }
  Attributes of(std::string_view reference) const;

  // Whether the repository and the reference in it have the attribute.
  bool has(Attribute attribute, std::string_view reference) const {
    return own().has(attribute) && of(reference).has(attribute);
  }
  // Tags and digests that something is switched off for.
  const std::map<std::string, Attributes, std::less<>>& all() const { return all_; }

 private:
  // Those of names after `after`, up to the first one that `ends` wants no more.
  Result<void> read_from(meta::MetadataStore& metadata, std::string_view repository,
                         std::string_view after, const std::function<bool(std::string_view)>& ends);

  std::map<std::string, Attributes, std::less<>> all_;
};

// Those of a repository ("*"), or of a tag or digest in it, whatever else is switched off there.
Result<Attributes> attributes_of(meta::MetadataStore& metadata, std::string_view repository,
                                 std::string_view reference);

// Whether a manifest of the repository has any, by its digest.
Result<bool> any_digest_has_attributes(meta::MetadataStore& metadata, std::string_view repository);

// Changes those of a repository ("*") or of a tag or digest in it, and returns what they are then.
// `change` is called again, with what is there, when somebody else was faster.
using ChangeAttributes = std::function<std::expected<void, Refusal>(Attributes&)>;
std::expected<Attributes, Refusal> change_attributes(meta::MetadataStore& metadata,
                                                     std::string_view repository,
                                                     std::string_view reference,
                                                     const ChangeAttributes& change);

// Forgets what is switched off for names that the push to `route` and `tags` begins anew: the
// repository, the tags or the manifest, where there is none. Texts that are no such names begin
// nothing.
Result<void> begin_names_anew(meta::MetadataStore& metadata, const Route& route,
                              const std::vector<std::string_view>& tags = {});

// The refusals, with the rule in `detail`. 405 for deleting, 403 otherwise.

// To read, push or delete what the route names, and what goes with it. `tags` are those that a push
// sets besides. Looks up these names only, however many have attributes.
std::expected<void, Refusal> check_attributes(meta::MetadataStore& metadata, Attribute attribute,
                                              const Route& route,
                                              const std::vector<std::string_view>& tags = {});
// The repository as a whole; for its deletion also all that is in it.
std::expected<void, Refusal> check_repository_attributes(meta::MetadataStore& metadata,
                                                         Attribute attribute,
                                                         std::string_view repository);
// To undo a deletion: a tag that is pointed elsewhere now must allow that, and the repository must
// be writable.
std::expected<void, Refusal> check_restore(meta::MetadataStore& metadata,
                                           const meta::Deletion& deletion);
// To forget a deletion before its time: what it would have brought back must be deletable.
std::expected<void, Refusal> check_forget(meta::MetadataStore& metadata,
                                          const meta::Deletion& deletion);

}  // namespace runnel::registry
