// What the store knows of one snapshot, and how that stands in a row of its database.
#pragma once

#include <string>

#include "base/error.h"
#include "snapshot/snapshot.h"

namespace runnel::snapshot {

struct Record {
  int64_t number = 0;  // names its directory; never used twice
  Info info;
  std::string chain_id;  // streamed: what it shows; empty: ordinary
  Usage usage;           // of an ordinary committed snapshot

  bool streamed() const { return !chain_id.empty(); }

  bool operator==(const Record&) const = default;
};

struct Row {
  int64_t number = 0;
  std::string name;
  std::string parent;
  int64_t kind = 0;
  int64_t created = 0;
  int64_t updated = 0;
  std::string labels;
  std::string chain_id;
  int64_t bytes = 0;
  int64_t inodes = 0;
};

Row to_row(const Record& record);
// kUnavailable, with the snapshot's name, for what to_row() wrote and a disk has changed.
Result<Record> to_record(Row row);

// As in a row: nanoseconds since 1970, and JSON. Labels are UTF-8; one with an empty value is none,
// and left out.
int64_t to_nanoseconds(WallTime time);
std::string to_text(const Labels& labels);

}  // namespace runnel::snapshot
