// What can be done to a repository.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/error.h"

namespace runnel::access {

enum class Action : uint8_t {
  kContentRead = 1,     // pull: manifests, blobs, referrers
  kContentWrite = 2,    // push: blobs, manifests, tags
  kContentDelete = 4,   // delete manifests, tags, blobs
  kMetadataRead = 8,    // list tags, see the repository in the catalog
  kMetadataWrite = 16,  // attributes
  kConvert = 32,        // push streaming artifacts, which nodes would believe
};

// "content/read", "content/write", "content/delete", "metadata/read", "metadata/write", "convert":
// the names in scope maps.
const char* to_string(Action action);

class Actions {
 public:
  constexpr Actions() = default;
  constexpr Actions(std::initializer_list<Action> list) {
    for (const auto action : list) bits_ |= static_cast<uint8_t>(action);
  }
  static constexpr Actions all() { return Actions(uint8_t{63}); }

  constexpr bool has(Action action) const { return (bits_ & static_cast<uint8_t>(action)) != 0; }
  constexpr bool has_all(Actions others) const { return (bits_ & others.bits_) == others.bits_; }
  constexpr bool empty() const { return bits_ == 0; }

  constexpr Actions operator|(Actions other) const { return Actions(uint8_t(bits_ | other.bits_)); }
  constexpr Actions operator&(Actions other) const { return Actions(uint8_t(bits_ & other.bits_)); }
  constexpr Actions& operator|=(Actions other) { return *this = *this | other; }
  bool operator==(const Actions&) const = default;

 private:
  explicit constexpr Actions(uint8_t bits) : bits_(bits) {}
  uint8_t bits_ = 0;
};

// kInvalid for anything but a name that to_string(Action) gives.
Result<Action> parse_action(std::string_view name);

// Actions as scopes of the Docker token flow name them: "pull" (content and metadata to read),
// "push" (content to write, and to convert: clients do not know that word), "delete",
// "metadata_read", "metadata_write", "convert", "*" (all).
// Names that mean nothing here give no action: a client may ask for more than there is.
Actions actions_of_scope(std::string_view comma_separated);
// A list of scope names that has all of `actions`, and with "pull" and "push" perhaps a little
// more.
std::string to_scope_actions(Actions actions);

}  // namespace runnel::access
