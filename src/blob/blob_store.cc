#include "blob/blob_store.h"

#include <algorithm>

namespace runnel::blob {

uint64_t size_of(const Content& content) {
  return std::visit([](const auto& each) { return each.size; }, content);
}

Result<void> check_upload_id(const std::string& id) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  if (!id.empty() && id.size() <= 64 && std::ranges::all_of(id, allowed)) return {};
  return fail(Code::kInvalid, "\"{}\" is not an upload's name", id.substr(0, 80));
}

}  // namespace runnel::blob
