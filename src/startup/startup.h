// startup/ guesses what starting an image will read, before anybody has started it: the program
// that its configuration names, the libraries that this is linked with, the modules that a script
// imports at once, and the small files that every program asks for. What nodes tell of real starts
// is better and takes its place (artifact/profile.h); until then a guess saves a start hundreds of
// round trips.
//
// Everything that is looked at comes from the image and is hostile: every parser is bounded, and
// what it does not understand is simply not followed. A wrong guess costs bytes of the hot pack,
// never content.
//
// It does not hold: chunks and hot packs (convert/), the configuration's JSON (oci/).
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "oci/image_config.h"
#include "startup/image_files.h"

namespace runnel::startup {

// A part of a regular file, in bytes; within the file.
struct Range {
  uint32_t inode = 0;  // in the tree of the image's files
  uint64_t offset = 0;
  uint64_t size = 0;

  bool operator==(const Range&) const = default;
};

// What to bring, most urgent first: about the order in which the start will ask for it. Parts may
// overlap. Without a process only what any program would read. Errors are those of reading content.
Result<std::vector<Range>> guess(const oci::Process& process, ImageFiles& files);

}  // namespace runnel::startup
