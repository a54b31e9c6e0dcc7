#include "erofs/directory.h"

#include <algorithm>

namespace runnel::erofs {

void store_directory_block(MutableBytes block, const std::vector<Dirent>& entries) {
  uint64_t name_at = entries.size() * kDirentSize;
  std::byte* at = block.data();
  for (const Dirent& entry : entries) {
    RUNNEL_CHECK(name_at + entry.name.size() <= block.size());
    store_le(at, entry.nid);
    store_le(at + 8, static_cast<uint16_t>(name_at));
    store_le(at + 10, entry.type);
    std::ranges::copy(as_bytes(entry.name), block.data() + name_at);
    name_at += entry.name.size();
    at += kDirentSize;
  }
}

Result<void> load_directory_block(Bytes block, std::vector<Dirent>& entries) {
  if (block.size() < kDirentSize || block.size() > kBlockSize) {
    return fail(Code::kInvalid, "directory block of {} bytes", block.size());
  }
  const uint64_t names_at = load_le<uint16_t>(block.data() + 8);
  if (names_at < kDirentSize || names_at % kDirentSize != 0 || names_at >= block.size()) {
    return fail(Code::kInvalid, "directory block says its names start at byte {}", names_at);
  }

  for (uint64_t at = 0; at < names_at; at += kDirentSize) {
    const std::byte* entry = block.data() + at;
    const bool last = at + kDirentSize == names_at;
    const uint64_t from = load_le<uint16_t>(entry + 8);
    const uint64_t to = last ? block.size() : load_le<uint16_t>(entry + kDirentSize + 8);
    if (from < names_at || to <= from || to > block.size()) {
      return fail(Code::kInvalid, "directory entry {} has its name in bytes {} to {}",
                  at / kDirentSize, from, to);
    }
    std::string_view name = as_text(block.subspan(from, to - from));
    if (last) name = name.substr(0, name.find('\0'));
    if (name.empty() || name.size() > kMaxNameSize || name.find('/') != name.npos ||
        name.find('\0') != name.npos) {
      return fail(Code::kInvalid, "directory entry {} has a name that no file can have",
                  at / kDirentSize);
    }
    entries.push_back({load_le<uint64_t>(entry), load_le<uint8_t>(entry + 10), name});
  }
  return {};
}

}  // namespace runnel::erofs
