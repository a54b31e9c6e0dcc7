// Which boot blob a node will want that reads an image's manifest (artifact/boot_hint.h).
#pragma once

#include <optional>
#include <string_view>

#include "artifact/boot_hint.h"
#include "base/error.h"
#include "meta/metadata_store.h"
#include "net/headers.h"

namespace runnel::registry {

// Whether a request's headers ask for a hint.
bool asks_for_boot_blob(const net::Headers& headers);

// Of the newest streaming artifact of `subject`, as a node chooses it (convert/find_artifact.h).
// Nothing when there is none, and where digests of the repository have attributes: which of them
// may be listed and read is for the ordinary way to say. Reads a few rows of the store.
Result<std::optional<artifact::BootHint>> boot_hint(meta::MetadataStore& metadata,
                                                    std::string_view repository,
                                                    const oci::Digest& subject);

}  // namespace runnel::registry
