// Which layers' bits the next process may believe: those that were closed, and untouched since. One
// file for all of them, so that a start and a stop wait for the disk once, however many there are.
//
// ROOT/cache/clean, little-endian:
//
//      0  magic "RNLCLEAN"     8  version u32 = 1     12  count u32
//     16  count SHA-256 digests of layers' blobs, 32 bytes each, ascending
//      …  SHA-256 of all before
#pragma once

#include <set>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "oci/digest.h"

namespace runnel::cache {

// What is written there, and read again: kInvalid unless it is exactly that. Digests of another
// algorithm than SHA-256 are left out.
Buffer encode_closed_layers(const std::set<oci::Digest>& layers);
Result<std::set<oci::Digest>> parse_closed_layers(Bytes file);

// Takes the file away, for good when this returns: from then on the layers may be changed. None
// when there is no file; one that is damaged is as none, with a line in the log.
Result<std::set<oci::Digest>> take_closed_layers(const std::string& directory);
// Durable when it returns.
Result<void> leave_closed_layers(const std::string& directory, const std::set<oci::Digest>& layers);

}  // namespace runnel::cache
