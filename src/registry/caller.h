// Who sends a request, and what they may do.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/grant.h"
#include "access/scope.h"
#include "access/token.h"
#include "base/clock.h"

namespace runnel::registry {

class Caller {
 public:
  // Whoever can connect to a registry without authentication: may do everything.
  static Caller anyone();
  // `limit` is the one of the token that the request came with, if it has one.
  Caller(access::Principal principal, access::Grants grants,
         std::optional<std::vector<access::Scope>> limit);

  // "user:alice", "token:ci", "anonymous"; "" without authentication. Uploads belong to it.
  std::string id() const;
  bool is_anonymous() const;
  const access::Principal& principal() const { return principal_; }
  const std::optional<std::vector<access::Scope>>& limit() const { return limit_; }

  // The manifests to which the token is limited, with what belongs to them (image_scope.h); empty:
  // it is not.
  const std::vector<std::string>& images() const { return images_; }
  void limit_to_images(std::vector<std::string> digests) { images_ = std::move(digests); }

  // What the principal may do in the repository, whatever the token says.
  access::Actions granted(std::string_view repository) const;
  // Patterns (access::Grant) of all repositories in which the principal may do this: each
  // repository by one of them, in the order of their names.
  std::vector<std::string> patterns(access::Action action) const;
  // granted() within the token's limit. Nothing with a limit to images, which only authorize()
  // takes for more.
  access::Actions allowed(std::string_view repository) const;
  // As if the token were not limited to images.
  access::Actions allowed_in_images(std::string_view repository) const;
  bool may(access::Action action, std::string_view repository) const {
    return allowed(repository).has(action);
  }
  // When the access token that the request came with ends; empty: it came with a login.
  std::optional<WallTime> expires() const { return expires_; }
  void set_expires(WallTime when) { expires_ = when; }

  // Of the token's password (token_store.h) by which it logged in, now or when it got what it came
  // with; empty: by none.
  const std::string& password_mark() const { return password_mark_; }
  void set_password_mark(std::string mark) { password_mark_ = std::move(mark); }

  // What the caller should know about how it logged in; empty: nothing.
  const std::string& notice() const { return notice_; }
  void set_notice(std::string text) { notice_ = std::move(text); }

  // Whether the token, if there is one, was made for the catalog.
  bool may_list_catalog() const;
  // Whether it may make tokens and scope maps: the role Owner of all repositories.
  bool is_owner() const;

 private:
  Caller() = default;

  bool unrestricted_ = false;
  access::Principal principal_;
  access::Grants grants_;
  std::optional<std::vector<access::Scope>> limit_;
  std::vector<std::string> images_;
  std::string password_mark_;
  std::string notice_;
  std::optional<WallTime> expires_;
};

}  // namespace runnel::registry
