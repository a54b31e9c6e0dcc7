#include "node/file_finder.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "base/mapped_file.h"
#include "erofs/reader.h"

namespace runnel::node {

namespace {

constexpr uint64_t kMaxMetadata = uint64_t{8} << 30;
constexpr size_t kMaxInodes = 1 << 22;
constexpr size_t kMaxPath = 4096;

class Walk {
 public:
  Walk(const erofs::Reader& reader, const std::vector<DeviceBlock>& blocks)
      : reader_(reader), blocks_(blocks), order_(blocks.size()), paths_(blocks.size()) {
    std::iota(order_.begin(), order_.end(), 0);
    std::ranges::sort(order_, {}, [&](size_t i) { return blocks_[i]; });
  }

  Result<std::vector<std::string>> run() {
    directories_.push_back({.nid = reader_.root(), .path = {}});
    while (!directories_.empty()) {
      const auto directory = std::move(directories_.back());
      directories_.pop_back();
      RUNNEL_DO(look_into(directory));
    }
    return std::move(paths_);
  }

 private:
  struct Directory {
    uint64_t nid = 0;
    std::string path;
  };

  Result<void> look_into(const Directory& directory) {
    RUNNEL_TRY(const auto node, reader_.node(directory.nid));
    RUNNEL_TRY(const auto entries, reader_.entries(node));
    for (const auto& entry : entries) {
      if (entry.name == "." || entry.name == ".." || !seen_.insert(entry.nid).second) continue;
      if (seen_.size() > kMaxInodes) return fail(Code::kExhausted, "the image has too many files");
      RUNNEL_TRY(const auto child, reader_.node(entry.nid));
      auto path = fmt::format("{}/{}", directory.path, entry.name);
      if (child.is_directory() && path.size() <= kMaxPath) {
        directories_.push_back({.nid = entry.nid, .path = std::move(path)});
      } else if (child.is_regular()) {
        RUNNEL_DO(claim(child, path));
      }
    }
    return {};
  }

  Result<void> claim(const erofs::Node& file, const std::string& path) {
    RUNNEL_TRY(const auto extents, reader_.extents(file));
    for (const auto& extent : extents) {
      const DeviceBlock first{.device = extent.device, .block = extent.device_block};
      auto at = std::ranges::lower_bound(order_, first, {}, [&](size_t i) { return blocks_[i]; });
      for (; at != order_.end(); ++at) {
        const auto& block = blocks_[*at];
        if (block.device != extent.device || block.block >= extent.device_block + extent.blocks)
          break;
        paths_[*at] = path;
      }
    }
    return {};
  }

  const erofs::Reader& reader_;
  const std::vector<DeviceBlock>& blocks_;
  std::vector<size_t> order_;  // of blocks_
  std::vector<std::string> paths_;
  std::vector<Directory> directories_;
  std::unordered_set<uint64_t> seen_;
};

}  // namespace

Result<std::vector<std::string>> find_files(const std::string& metadata_path,
                                            const std::vector<DeviceBlock>& blocks) {
  if (blocks.empty()) return std::vector<std::string>();
  RUNNEL_TRY(const auto file, MappedFile::open(metadata_path, kMaxMetadata));
  RUNNEL_TRY(const auto reader, erofs::Reader::open(file->bytes()));
  return Walk(reader, blocks).run();
}

}  // namespace runnel::node
