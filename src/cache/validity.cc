#include "cache/validity.h"

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

Result<Validity> Validity::open(std::unique_ptr<File> file, const artifact::ChunkTable& table,
                                bool settled) {
  const Buffer header = header_of(table);
  Buffer found(kBitsOffset + div_up(table.size(), 8));
  RUNNEL_TRY(const uint64_t size, file->size());
  // There are no bits that are not its own, so whatever of this a power loss leaves is right; and
  // it is synced with the first bit that is set.
  if (size == 0) {
    RUNNEL_DO(file->resize(found.size()));
    RUNNEL_DO(file->write(header, 0));
    return Validity(std::move(file), Buffer(found.size() - kBitsOffset), OnDisk::kNothing);
  }
  const auto read = file->read(found, 0);
  Buffer bits(found.begin() + kBitsOffset, found.end());
  if (read && std::ranges::equal(Bytes(found).first(kBitsOffset), header)) {
    return Validity(std::move(file), std::move(bits), settled ? OnDisk::kAll : OnDisk::kUnknown);
  }
  // Without bits first, so that no header ever stands before bits that are not its own.
  RUNNEL_DO(file->resize(0));
  RUNNEL_DO(file->sync());
  std::ranges::fill(bits, std::byte{0});
  RUNNEL_DO(file->write(bits, kBitsOffset));
  RUNNEL_DO(file->write(header, 0));
  RUNNEL_DO(file->sync());
  return Validity(std::move(file), std::move(bits), OnDisk::kAll);
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

Result<void> Validity::settle() {
  if (on_disk_ == OnDisk::kAll || bits_.empty()) return {};
  RUNNEL_DO(write_bytes(0, bits_.size() - 1));
  on_disk_ = OnDisk::kAll;
  return {};
}

Result<void> Validity::write_back(std::span<const uint32_t> chunks) {
  if (chunks.empty()) return {};
  const auto [low, high] = std::ranges::minmax(chunks);
  return write_bytes(low / 8, high / 8);
}

// And all between them.
Result<void> Validity::write_bytes(size_t first, size_t last) {
  auto written = write_through(first, last);
  if (!written)
    on_disk_ = OnDisk::kUnknown;
  else if (on_disk_ == OnDisk::kNothing)
    on_disk_ = OnDisk::kAll;
  return written;
}

Result<void> Validity::write_through(size_t first, size_t last) {
  if (const int injected = fault("bits")) {
    return std::unexpected(system_error(injected, "write validity bits (injected)"));
  }
  RUNNEL_DO(file_->write(Bytes(bits_).subspan(first, last - first + 1), kBitsOffset + first));
  fault("between-bitmap-and-sync");
  return file_->sync();
}

}  // namespace runnel::cache
