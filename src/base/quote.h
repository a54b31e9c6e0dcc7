// Untrusted text in messages: names in images and registries may hold any byte.
#pragma once

#include <string>
#include <string_view>

namespace runnel {

// The text in double quotes, on one line, in ASCII: other bytes, '"' and '\' become \xNN. At most
// 512 bytes of it; "…" says that more was there.
std::string quote(std::string_view text);

}  // namespace runnel
