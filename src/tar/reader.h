// tar/ reads tar archives of every dialect that image layers come in: v7, ustar, PAX, GNU (long
// names, old sparse files, binary numbers) and star's header.
//
// It does not hold: writing, files or sockets (the caller pushes bytes in), decompression (codec/),
// nor any opinion about names, whiteouts or owners: what an entry does to a file system is
// artifact/'s to say. Where dialects are ambiguous it reads what Go's archive/tar reads, because
// containerd unpacks with that and an image must look the same both ways; the places say so.
//
// A Reader belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "tar/entry.h"

namespace runnel::tar {

struct Limits {
  // Of a name and of a link's target: what Linux takes as a path, with its NUL.
  uint64_t max_name_size = 4096;
  // Of a PAX header (and so of all of an entry's attributes together), a GNU long name, and a
  // sparse file's map, each. Go and libarchive have the same limit.
  uint64_t max_special_size = uint64_t{1} << 20;
  uint64_t max_sparse_extents = uint64_t{1} << 20;
};

// Gets an archive's entries in order. An error from any of the calls ends the reading and comes out
// of Reader::feed() as it is.
class Handler {
 public:
  virtual ~Handler() = default;

  virtual Result<void> entry(const Entry& entry) = 0;
  // The next bytes of the entry's content, from `offset` of the file on. All of every data extent
  // comes, in ascending order, in pieces that never reach from one extent into the next and are
  // never empty. The bytes are gone when this returns.
  virtual Result<void> data(uint64_t offset, Bytes bytes) = 0;
  virtual Result<void> entry_end() = 0;
};

// A push parser: feed() it the archive in pieces of any size, then finish().
//
// The archive ends with two zero blocks, or with its last byte if that is at the border of a block
// or in the padding behind an entry. What follows two zero blocks is ignored.
//
// Every error but a handler's own says which entry it is about (counted from 0, metadata entries
// not counted), its name if that is known, and the byte where its header begins. After an error all
// further calls return it again.
class Reader {
 public:
  explicit Reader(const Limits& limits = {});
  ~Reader();

  // kInvalid: this is no tar archive, or a damaged one. kExhausted: it exceeds one of the limits.
  Result<void> feed(Bytes input, Handler& handler);

  // kInvalid when the archive was cut short.
  Result<void> finish();

 private:
  class Machine;
  std::unique_ptr<Machine> machine_;
};

}  // namespace runnel::tar
