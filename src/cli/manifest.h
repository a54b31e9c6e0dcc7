// `runnel manifest …`: the manifests of a repository, what refers to them, what was deleted.
#pragma once

#include <optional>
#include <string>

#include "cli/api_options.h"
#include "cli/repository.h"

namespace runnel::cli {

struct ManifestOptions {
  ApiOptions api;
  std::string name;  // REPO, REPO:TAG or REPO@DIGEST, perhaps with the registry before it
  std::string artifact_type;
  bool recursive = false;
  std::string digest;  // of restore: which one of those the tag had
  bool force = false;  // of restore: the tag comes back although it is something else now
  std::optional<unsigned> top;
  AttributeChanges attributes;
};

// The manifests of a repository that its tags lead to, with what refers to them.
int manifest_list(const ManifestOptions& options);
// The same with what may be done to each.
int manifest_list_metadata(const ManifestOptions& options);
// {"manifests": […]}, as the referrers API says it.
int manifest_list_referrers(const ManifestOptions& options);
// The manifest itself.
int manifest_show(const ManifestOptions& options);
int manifest_show_metadata(const ManifestOptions& options);
int manifest_update_metadata(const ManifestOptions& options);
// With its tags and streaming artifact. Asks first.
int manifest_delete(const ManifestOptions& options);
int manifest_list_deleted(const ManifestOptions& options);
int manifest_list_deleted_tags(const ManifestOptions& options);
// Undoes the newest deletion of that tag, or of that digest.
int manifest_restore(const ManifestOptions& options);

}  // namespace runnel::cli
