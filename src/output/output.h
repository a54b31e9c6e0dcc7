// output/ is how a command shows a JSON document: --query picks from it, --output writes it as
// JSON, a table, lines with tabs, or YAML.
//
// query.h   the query language (a part of JMESPath, docs/command-line.md)
// format.h  the five ways to write a document
//
// It does not hold: where the document comes from, and where it goes (cli/).
#pragma once

#include "output/format.h"  // IWYU pragma: export
#include "output/query.h"   // IWYU pragma: export
