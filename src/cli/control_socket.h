// What commands ask the node through its control socket.
#pragma once

#include <string>

#include "base/error.h"

namespace runnel::cli {

// The answer's body. kUnavailable when the node does not run or refuses; the message has its words.
Result<std::string> ask_node(const std::string& socket, const char* method, const char* path,
                             const std::string& body = {});

}  // namespace runnel::cli
