// The tables of the SQLite driver, and which version of them a file has.
#pragma once

#include "base/error.h"
#include "meta/sqlite.h"

namespace runnel::meta {

// Makes the tables in a new file. kUnsupported when a newer program wrote the file, kConflict when
// it is another program's database.
Result<void> prepare_schema(Connection& connection);

}  // namespace runnel::meta
