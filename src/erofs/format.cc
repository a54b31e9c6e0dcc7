#include "erofs/format.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/quote.h"

namespace runnel::erofs {
namespace {

constexpr uint32_t kCrc32cPolynomial = 0x82f63b78;  // bits reversed

constexpr auto kCrc32cTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kCrc32cPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}();

uint32_t crc32c(uint32_t crc, Bytes bytes) {
  for (const std::byte byte : bytes) {
    crc = (crc >> 8) ^ kCrc32cTable[(crc ^ std::to_integer<uint32_t>(byte)) & 0xff];
  }
  return crc;
}

struct Prefix {
  uint8_t number;
  std::string_view text;
  bool whole_name;  // nothing may follow
};

constexpr std::string_view kAccessAcl = "system.posix_acl_access";
constexpr std::string_view kDefaultAcl = "system.posix_acl_default";
constexpr Prefix kPrefixes[] = {
    {1, "user.", false},    {2, kAccessAcl, true},   {3, kDefaultAcl, true},
    {4, "trusted.", false}, {6, "security.", false},
};

// Null for what split_xattr_name() cannot have given.
const Prefix* prefix_of(const XattrName& name) {
  for (const Prefix& prefix : kPrefixes) {
    if (prefix.number != name.prefix || name.rest.empty() != prefix.whole_name) continue;
    const bool fits = prefix.text.size() + name.rest.size() <= kMaxXattrNameSize;
    return fits && !name.rest.contains('\0') ? &prefix : nullptr;
  }
  return nullptr;
}

std::unexpected<Error> no_xattr_name(const XattrName& name) {
  return fail(Code::kInvalid, "xattr name of {} bytes with prefix number {}", name.rest.size(),
              name.prefix);
}

}  // namespace

void store_superblock(std::byte* at, const Superblock& superblock) {
  std::fill_n(at, kSuperblockSize, std::byte{0});
  store_le(at, kMagic);
  store_le(at + 4, superblock.checksum);
  store_le(at + 8, superblock.feature_compat);
  store_le(at + 12, superblock.block_bits);
  store_le(at + 14, superblock.root_nid);
  store_le(at + 16, superblock.inode_count);
  store_le(at + 24, superblock.build_time);
  store_le(at + 32, superblock.build_time_ns);
  store_le(at + 36, superblock.blocks);
  store_le(at + 40, superblock.meta_block);
  store_le(at + 44, superblock.xattr_block);
  std::ranges::copy(superblock.uuid, at + 48);
  store_le(at + 80, superblock.feature_incompat);
  store_le(at + 86, superblock.extra_devices);
  store_le(at + 88, superblock.device_slot);
}

Superblock load_superblock(const std::byte* at) {
  Superblock superblock;
  superblock.checksum = load_le<uint32_t>(at + 4);
  superblock.feature_compat = load_le<uint32_t>(at + 8);
  superblock.block_bits = load_le<uint8_t>(at + 12);
  superblock.root_nid = load_le<uint16_t>(at + 14);
  superblock.inode_count = load_le<uint64_t>(at + 16);
  superblock.build_time = load_le<uint64_t>(at + 24);
  superblock.build_time_ns = load_le<uint32_t>(at + 32);
  superblock.blocks = load_le<uint32_t>(at + 36);
  superblock.meta_block = load_le<uint32_t>(at + 40);
  superblock.xattr_block = load_le<uint32_t>(at + 44);
  std::copy_n(at + 48, superblock.uuid.size(), superblock.uuid.begin());
  superblock.feature_incompat = load_le<uint32_t>(at + 80);
  superblock.extra_devices = load_le<uint16_t>(at + 86);
  superblock.device_slot = load_le<uint16_t>(at + 88);
  return superblock;
}

uint32_t superblock_checksum(Bytes first_block) {
  constexpr std::byte kZeroField[4] = {};
  const Bytes covered = first_block.subspan(kSuperblockAt);

  uint32_t crc = crc32c(~uint32_t{0}, covered.first(4));
  crc = crc32c(crc, kZeroField);
  return crc32c(crc, covered.subspan(8));
}

void store_device(std::byte* at, const Device& device) {
  std::fill_n(at, kDeviceSlotSize, std::byte{0});
  std::ranges::copy(as_bytes(device.tag), at);
  store_le(at + 64, static_cast<uint32_t>(device.blocks));
}

Device load_device(const std::byte* at) {
  const std::string_view tag = as_text({at, kMaxDeviceTagSize});
  return {.blocks = load_le<uint32_t>(at + 64), .tag = std::string(tag.substr(0, tag.find('\0')))};
}

uint8_t dirent_type(uint16_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return 1;
    case S_IFDIR: return 2;
    case S_IFCHR: return 3;
    case S_IFBLK: return 4;
    case S_IFIFO: return 5;
    case S_IFSOCK: return 6;
    case S_IFLNK: return 7;
    default: return 0;
  }
}

Result<XattrName> split_xattr_name(std::string_view full) {
  if (full.size() > kMaxXattrNameSize || full.contains('\0')) {
    return fail(Code::kInvalid, "xattr name of {} bytes is too long or has a NUL", full.size());
  }
  for (const Prefix& prefix : kPrefixes) {
    if (!full.starts_with(prefix.text)) continue;
    const std::string_view rest = full.substr(prefix.text.size());
    if (rest.empty() == prefix.whole_name) return XattrName{prefix.number, rest};
  }
  return fail(Code::kUnsupported,
              "xattr {}: EROFS has user., trusted., security. and the two POSIX ACLs only",
              quote(full));
}

Result<std::string> join_xattr_name(const XattrName& name) {
  const Prefix* prefix = prefix_of(name);
  if (prefix == nullptr) return no_xattr_name(name);
  return std::string(prefix->text) + std::string(name.rest);
}

Result<void> check_xattr_name(const XattrName& name) {
  if (prefix_of(name) == nullptr) return no_xattr_name(name);
  return {};
}

bool is_posix_acl(std::string_view full_name) {
  return full_name == kAccessAcl || full_name == kDefaultAcl;
}

bool is_posix_acl(const XattrName& name) {
  const Prefix* prefix = prefix_of(name);
  return prefix != nullptr && is_posix_acl(prefix->text);
}

}  // namespace runnel::erofs
