// May this caller do this? One function for every resource and method of the distribution API, so
// that HEAD, GET, ranges, referrers and deletions cannot differ.
#pragma once

#include <expected>

#include "registry/caller.h"
#include "registry/gate.h"
#include "registry/image_scope.h"
#include "registry/reply.h"
#include "registry/route.h"

namespace runnel::registry {

enum class Decision : uint8_t {
  kAllowed,
  // The caller may not know whether it exists: answer as if it did not (Route::hidden).
  kHidden,
  // Only if it belongs to the token's images: check_images().
  kOfImages,
};

// Whoever did not say who it is gets 401 with a challenge, whether the thing exists or not; so does
// a token that is limited to less than its principal may do. Who may see a repository but not
// change it gets 403 with the reason.
std::expected<Decision, Refusal> authorize(const Gate& gate, const Caller& caller,
                                           const Route& route, const net::Request& request);

// After kOfImages. The refusal is the same whether the thing exists or not. Reads the metadata:
// call it from a pool's thread.
std::expected<void, Refusal> check_images(const Gate& gate, ImageRights& rights,
                                          const Caller& caller, const Route& route,
                                          const net::Request& request);

// What one does in the APIs of our own.
struct Deed {
  access::Action action;
  std::string_view repository;
  // Who may do this knows of the repository; who may not gets the answer to what is absent.
  access::Action seeing = access::Action::kContentRead;
};

// The same decision for them. `gate` is null without authentication.
std::expected<void, Refusal> authorize_deed(const Gate* gate, const Caller& caller,
                                            const Deed& deed, const net::Request& request,
                                            const Refusal& absent);

// 403 for an action that the caller's grants do not have.
Refusal denied(const Caller& caller, std::string_view repository, access::Action action);

}  // namespace runnel::registry
