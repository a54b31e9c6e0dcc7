// Request bodies that fit in memory.
#pragma once

#include <cstddef>
#include <optional>

#include "base/bytes.h"
#include "net/server.h"

namespace runnel::registry {

// The whole body; kExhausted when it has more than `limit` bytes, otherwise as RequestBody::read.
net::awaitable<Result<Buffer>> read_whole(net::RequestBody& body, size_t limit);

}  // namespace runnel::registry
