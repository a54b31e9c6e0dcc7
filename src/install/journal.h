// Which files an install changes, and what they were: the journal.json of a transaction.
//
//   {"version": 1, "committed": BOOL, "files": [{
//       "path": TEXT,              absolute
//       "existed": BOOL,
//       "before_sha256": HEX,      "" when it did not exist
//       "after_sha256": HEX,
//       "mode": N, "uid": N, "gid": N,
//       "directories": [TEXT, …]   made for it, uppermost first
//   }, …]}
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "install/text_file.h"

namespace runnel::install {

struct ChangedFile {
  std::string path;
  std::string before_hash;  // "": there was no such file
  std::string after_hash;
  Ownership owner;
  std::string after;                     // until it is written; not in the journal
  std::vector<std::string> directories;  // made for it, uppermost first

  bool existed() const { return !before_hash.empty(); }
};

struct Journal {
  bool committed = false;  // everything is in place and shall stay
  std::vector<ChangedFile> files;
};

std::string to_json(const Journal& journal);

// kInvalid for what to_json() never writes, above all for what would have a roll-back remove a file
// that was there, or a directory that is not the file's; kUnsupported for that of a later version.
Result<Journal> parse_journal(Bytes json);

}  // namespace runnel::install
