// Reads what is behind a tag: a manifest or an index.
//
// The two must not be confused (CVE-2021-41190: one document that reads as either). So the content
// type and the document's own mediaType must agree when both are there, and members of the other
// kind are refused. Unknown members are ignored, wrong types refused; null counts as absent,
// because some writers put it for an empty list.
#pragma once

#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "base/error.h"
#include "oci/index.h"
#include "oci/manifest.h"

namespace runnel::oci {

// Larger documents are refused (kExhausted), as are more descriptors than kMaxDescriptors.
inline constexpr size_t kMaxDocumentBytes = 4 << 20;
inline constexpr size_t kMaxDescriptors = 10'000;

using Document = std::variant<Manifest, Index>;

// `content_type` may carry parameters, or be empty or "application/json" when the sender did not
// say. kInvalid when the bytes are no manifest or index; kUnsupported for a media type that is
// neither.
Result<Document> parse_document(Bytes bytes, std::string_view content_type);

// The same when only one kind will do.
Result<Manifest> parse_manifest(Bytes bytes, std::string_view content_type = {});
Result<Index> parse_index(Bytes bytes, std::string_view content_type = {});

const std::string& media_type(const Document& document);
const std::optional<Descriptor>& subject(const Document& document);

}  // namespace runnel::oci
