// `runnel repository …`: the repositories of a registry, and what may be done to them.
#pragma once

#include <optional>
#include <string>

#include "cli/api_options.h"

namespace runnel::cli {

// Unset: stays as it is.
struct AttributeChanges {
  std::optional<bool> may_delete;
  std::optional<bool> may_list;
  std::optional<bool> may_read;
  std::optional<bool> may_write;
};

struct RepositoryOptions {
  ApiOptions api;
  std::string repository;  // one of these two
  std::string image;       // REPO:TAG or REPO@DIGEST
  std::optional<unsigned> top;
  AttributeChanges attributes;
};

// The names of the repositories that the caller may see.
int repository_list(const RepositoryOptions& options);
int repository_tags(const RepositoryOptions& options);
// What may be done to a repository, a tag or a manifest, and whether pushed images stream.
int repository_show(const RepositoryOptions& options);
int repository_update(const RepositoryOptions& options);
// A repository, or the manifest behind an image's name with all its tags. Asks first.
int repository_delete(const RepositoryOptions& options);
// Takes a tag away and leaves the manifest.
int repository_untag(const RepositoryOptions& options);
// The names of the repositories in which something was deleted that can come back.
int repository_list_deleted(const RepositoryOptions& options);

}  // namespace runnel::cli
