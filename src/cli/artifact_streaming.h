// `runnel artifact-streaming …`: the conversion service of a registry.
#pragma once

#include <optional>
#include <string>

#include "cli/api_options.h"

namespace runnel::cli {

struct StreamingOptions {
  ApiOptions api;
  std::string image;  // REPO:TAG or REPO@DIGEST
  std::string repository;
  std::string id;      // of an operation
  std::string status;  // of the operations to list; "" for all
  bool all = false;    // every image of the repository
  bool no_wait = false;
  double poll_seconds = 5;  // the first pause between two looks at an operation
  std::optional<bool> enable;
  std::optional<unsigned> hold_tag_seconds;  // how long a pushed tag waits for its artifact
  std::optional<unsigned> top;
};

// Has an image converted, or every tagged image of a repository, and waits for the end unless told
// not to. Fails when a conversion does.
int streaming_create(const StreamingOptions& options);
// Whether images that are pushed to the repository are converted.
int streaming_show(const StreamingOptions& options);
int streaming_update(const StreamingOptions& options);
// Deletes the artifacts of an image and leaves the image. Asks first.
int streaming_delete(const StreamingOptions& options);

// What the starts of an image have read first, of all nodes together, as a profile that
// "runnel convert --profile" takes.
int streaming_profile_show(const StreamingOptions& options);

// An operation, by its id or as the last one of an image.
int streaming_operation_show(const StreamingOptions& options);
int streaming_operation_cancel(const StreamingOptions& options);
// Of a repository, or all; newest first.
int streaming_operation_list(const StreamingOptions& options);

}  // namespace runnel::cli
