#include "cache/validity.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "cache/fault.h"

namespace runnel::cache {

namespace {

constexpr std::string_view kMagic = "RNLVALID";
constexpr uint32_t kVersion = 1;
constexpr uint64_t kBitsOffset = 4096;

Buffer header_of(const artifact::ChunkTable& table) {
  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.u32(kVersion);
  out.u32(table.size());
  out.bytes(table.digest());
  out.zeros(kBitsOffset - out.size());
  return out.take();
}

}  // namespace

Result<Validity> Validity::open(const std::string& path, const artifact::ChunkTable& table) {
  RUNNEL_TRY(auto fd, open_file(path, O_RDWR | O_CREAT, 0600));
  const Buffer header = header_of(table);
  Buffer bits(div_up(table.size(), 8));
  Buffer found(header.size());
  RUNNEL_TRY(const size_t size, read_up_to_at(fd.get(), found, 0));
  if (size == header.size() && found == header) {
    if (read_exact_at(fd.get(), bits, kBitsOffset)) return Validity(std::move(fd), std::move(bits));
    std::ranges::fill(bits, std::byte{0});
  }
  if (::ftruncate(fd.get(), 0) != 0) return fail_errno("truncate {}", path);
  RUNNEL_DO(write_all_at(fd.get(), bits, kBitsOffset));
  RUNNEL_DO(write_all_at(fd.get(), header, 0));
  if (::fsync(fd.get()) != 0) return fail_errno("fsync {}", path);
  return Validity(std::move(fd), std::move(bits));
}

bool Validity::has(uint32_t chunk) const {
  return (bits_[chunk / 8] & static_cast<std::byte>(1 << chunk % 8)) != std::byte{0};
}

Result<void> Validity::set(std::span<const uint32_t> chunks) {
  for (const uint32_t chunk : chunks) bits_[chunk / 8] |= static_cast<std::byte>(1 << chunk % 8);
  return write_back(chunks);
}

Result<void> Validity::clear(std::span<const uint32_t> chunks) {
  for (const uint32_t chunk : chunks) bits_[chunk / 8] &= static_cast<std::byte>(~(1 << chunk % 8));
  return write_back(chunks);
}

Result<void> Validity::write_back(std::span<const uint32_t> chunks) {
  if (chunks.empty()) return {};
  if (const int injected = fault("bits")) {
    return std::unexpected(system_error(injected, "write validity bits (injected)"));
  }
  const auto [low, high] = std::ranges::minmax(chunks);
  const auto changed = Bytes(bits_).subspan(low / 8, high / 8 - low / 8 + 1);
  RUNNEL_DO(write_all_at(fd_.get(), changed, kBitsOffset + low / 8));
  fault("between-bitmap-and-sync");
  if (::fdatasync(fd_.get()) != 0) return fail_errno("fdatasync of a validity file");
  return {};
}

}  // namespace runnel::cache
