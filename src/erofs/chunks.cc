#include "erofs/chunks.h"

#include <algorithm>
#include <bit>

namespace runnel::erofs {
namespace {

Result<void> check_extent(const Extent& extent, uint64_t previous_end, uint64_t grid_end,
                          const std::vector<Device>& devices) {
  if (extent.blocks == 0 || extent.file_block < previous_end || extent.file_block >= grid_end ||
      extent.blocks > grid_end - extent.file_block) {
    return fail(Code::kInvalid,
                "extent of {} blocks at file block {} is empty, overlaps the one before or ends "
                "past the file",
                extent.blocks, extent.file_block);
  }
  if (extent.device == 0 || extent.device > devices.size()) {
    return fail(Code::kInvalid, "extent is on device {}, there are {}", extent.device,
                devices.size());
  }
  const uint64_t device_blocks = devices[extent.device - 1].blocks;
  if (extent.device_block > device_blocks || extent.blocks > device_blocks - extent.device_block) {
    return fail(Code::kInvalid, "extent of {} blocks at block {} of device {} ends past its {}",
                extent.blocks, extent.device_block, extent.device, device_blocks);
  }
  return {};
}

bool continues(const Extent& before, const Extent& extent) {
  return before.device == extent.device && before.file_block + before.blocks == extent.file_block &&
         before.device_block + before.blocks == extent.device_block;
}

}  // namespace

Result<ChunkPlan> plan_chunks(const Inode& file, const std::vector<Device>& devices) {
  if (file.size > kMaxFileSize) {
    return fail(Code::kUnsupported, "file of {} bytes; at most {} can be said", file.size,
                kMaxFileSize);
  }
  const uint64_t file_blocks = div_up(file.size, kBlockSize);
  const uint64_t unit = extent_unit_blocks(file.size);

  // Every place where one extent or hole ends and another starts, or-ed together: the lowest bit
  // set is the largest power of two that divides them all.
  uint64_t boundaries = 0;
  uint64_t end = 0;
  for (size_t i = 0; i < file.extents.size(); ++i) {
    const Extent& extent = file.extents[i];
    RUNNEL_DO(check_extent(extent, end, round_up(file_blocks, unit), devices));
    if (i == 0 || !continues(file.extents[i - 1], extent)) boundaries |= extent.file_block | end;
    end = extent.file_block + extent.blocks;
  }
  if (!file.extents.empty() && end < file_blocks) boundaries |= end;

  uint64_t chunk_blocks =
      std::min(std::bit_ceil(std::max<uint64_t>(file_blocks, 1)), kMaxChunkBlocks);
  if (boundaries != 0) {
    chunk_blocks = std::min(chunk_blocks, uint64_t{1} << std::countr_zero(boundaries));
  }
  if (chunk_blocks < unit) {
    return fail(Code::kInvalid,
                "extents of a file of {} bytes must be cut at multiples of {} blocks, not {}",
                file.size, unit, chunk_blocks);
  }
  return ChunkPlan{.bits = static_cast<uint32_t>(std::countr_zero(chunk_blocks)),
                   .count = div_up(file_blocks, chunk_blocks)};
}

std::optional<ChunkAddress> chunk_address(const Inode& file, const ChunkPlan& plan, uint64_t chunk,
                                          size_t& next_extent) {
  const uint64_t file_block = chunk << plan.bits;
  while (next_extent < file.extents.size() &&
         file.extents[next_extent].file_block + file.extents[next_extent].blocks <= file_block) {
    ++next_extent;
  }
  if (next_extent == file.extents.size()) return std::nullopt;
  const Extent& extent = file.extents[next_extent];
  if (extent.file_block > file_block) return std::nullopt;
  return ChunkAddress{extent.device,
                      static_cast<uint32_t>(extent.device_block + file_block - extent.file_block)};
}

}  // namespace runnel::erofs
