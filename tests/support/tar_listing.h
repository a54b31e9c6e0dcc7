// A tar archive as text, one line an entry, to compare our reading of it with other programs':
//
//   regular name=etc/hosts mode=644 uid=0 gid=0 mtime=1700000000.000000000 size=20 crc=0a1b2c3d
//
// Bytes of names and values that are not printable, and spaces and '%', are written %xx. An archive
// that ends in an error ends in the line "error". tests/oracle/tar_listing/ has programs that write
// the same.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "support/tar_recorder.h"

namespace runnel::test {

// Contents above this are not hashed: a sparse file may claim any size.
inline constexpr uint64_t kMaxListedContent = 64 << 20;

inline std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c > ' ' && c <= '~' && c != '%') {
      out += c;
    } else {
      out += fmt::format("%{:02x}", static_cast<uint8_t>(c));
    }
  }
  return out;
}

inline uint32_t crc32(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> made;
    for (uint32_t i = 0; i < 256; ++i) {
      made[i] = i;
      for (int bit = 0; bit < 8; ++bit)
        made[i] = made[i] % 2 == 1 ? made[i] >> 1 ^ 0xedb88320 : made[i] >> 1;
    }
    return made;
  }();
  uint32_t crc = ~uint32_t{0};
  for (const char c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

inline const char* listed_type(tar::EntryType type) {
  constexpr std::array kNames = {"regular", "directory", "symlink", "hardlink", "char",
                                 "block",   "fifo",      "global",  "other"};
  return kNames[static_cast<size_t>(type)];
}

inline std::string listed(const RecordedEntry& recorded) {
  const tar::Entry& entry = recorded.entry;
  std::string line = fmt::format("{} name={}", listed_type(entry.type), escaped(entry.name));
  if (entry.type == tar::EntryType::kGlobalHeader) return line;
  line += fmt::format(" mode={:o} uid={} gid={} mtime={}.{:09}", entry.mode, entry.uid, entry.gid,
                      entry.mtime_s, entry.mtime_ns);
  if (entry.type == tar::EntryType::kSymlink || entry.type == tar::EntryType::kHardLink)
    line += " link=" + escaped(entry.link_name);
  if (entry.type == tar::EntryType::kCharDevice || entry.type == tar::EntryType::kBlockDevice)
    line += fmt::format(" device={}:{}", entry.dev_major, entry.dev_minor);
  if (entry.type == tar::EntryType::kRegular || entry.type == tar::EntryType::kOther) {
    line += fmt::format(" size={}", entry.size);
    if (entry.size <= kMaxListedContent)
      line += fmt::format(" crc={:08x}", crc32(content_of(recorded)));
  }
  for (const auto& [name, value] : entry.xattrs)
    line += " xattr=" + escaped(name) + "=" + escaped(as_text(value));
  return line;
}

inline std::string tar_listing(Bytes archive) {
  tar::Reader reader;
  TarRecorder recorder;
  auto outcome = reader.feed(archive, recorder);
  if (outcome) outcome = reader.finish();
  std::string listing;
  for (const auto& recorded : recorder.entries)
    if (recorded.ended) listing += listed(recorded) + "\n";
  return outcome ? listing : listing + "error\n";
}

}  // namespace runnel::test
