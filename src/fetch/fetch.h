// fetch/ brings ranges of blobs from registries to a node: RangeSource is what its users see,
// Fetcher makes them.
//
// It does not hold: the protocol's other calls and credentials (remote/), HTTP (net/), where bytes
// are kept and whether they are right (cache/), which ranges are worth having (engine/, node/).
// Everything in the public headers may be called from any thread and does not block, but for
// Fetcher::shutdown().
#pragma once

#include "fetch/fetcher.h"       // IWYU pragma: export
#include "fetch/range_source.h"  // IWYU pragma: export
