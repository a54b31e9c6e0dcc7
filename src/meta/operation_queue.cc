#include "meta/operation_queue.h"

#include <sys/random.h>

#include <array>

#include "base/bytes.h"

namespace runnel::meta {

std::string random_operation_id() {
  std::array<std::byte, 16> bits;
  RUNNEL_CHECK(::getrandom(bits.data(), bits.size(), 0) == static_cast<ssize_t>(bits.size()));
  bits[6] = (bits[6] & std::byte{0x0f}) | std::byte{0x40};  // version 4
  bits[8] = (bits[8] & std::byte{0x3f}) | std::byte{0x80};  // the RFC's variant
  auto text = to_hex(bits);
  for (const size_t dash : {8, 13, 18, 23}) text.insert(dash, "-");
  return text;
}

}  // namespace runnel::meta
