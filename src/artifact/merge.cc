#include "artifact/merge.h"

#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <map>
#include <string>

namespace runnel::artifact {

namespace {

constexpr int kMaxLinks = 255;
constexpr size_t kMaxSteps = 16384;      // of one path, as when the layers were read
constexpr size_t kTargetBytesAStep = 8;  // taking a link's target apart
constexpr uint64_t kXattrOverhead = 64;  // its name and value apart

using Path = std::vector<std::string_view>;

const erofs::DirEntry* find_entry(const erofs::Inode& directory, std::string_view name) {
  const auto found = std::ranges::lower_bound(
      directory.entries, name, {}, [](const auto& entry) { return std::string_view(entry.name); });
  if (found == directory.entries.end() || found->name != name) return nullptr;
  return &*found;
}

// What the look-ups have taken together.
class Spent {
 public:
  explicit Spent(const MergeLimits& limits) : limits_(limits) {}

  Result<void> steps(uint64_t count) {
    steps_ += count;
    if (steps_ <= limits_.max_steps) return {};
    return fail(Code::kExhausted,
                "merging layers: looking up directories that no entry names takes more than {} "
                "steps",
                limits_.max_steps);
  }
  Result<void> xattr_bytes(uint64_t count) {
    xattr_bytes_ += count;
    if (xattr_bytes_ <= limits_.max_xattr_bytes) return {};
    return fail(Code::kExhausted,
                "merging layers: directories that no entry names take over more than {} bytes of "
                "xattrs",
                limits_.max_xattr_bytes);
  }

 private:
  const MergeLimits& limits_;
  uint64_t steps_ = 0;
  uint64_t xattr_bytes_ = 0;
};

// One for a name, and more where it is looked for among hundreds.
uint64_t steps_in(const erofs::Inode& directory) {
  return 1 + std::bit_width(directory.entries.size()) / 8;
}

// A path on which symbolic links come up: what is still to be walked of them, and then of it.
class Walk {
 public:
  explicit Walk(const Path& path) : path_(path) {}

  bool at_end() const { return of_links_.empty() && next_ == path_.size(); }
  std::string_view take() {
    if (of_links_.empty()) return path_[next_++];
    const auto part = of_links_.back();
    of_links_.pop_back();
    return part;
  }
  void go_through(std::string_view target) {
    const auto before = static_cast<ptrdiff_t>(of_links_.size());
    while (!target.empty()) {
      const auto slash = target.find('/');
      const auto part = target.substr(0, slash);
      if (!part.empty() && part != ".") of_links_.push_back(part);
      target = slash == std::string_view::npos ? "" : target.substr(slash + 1);
    }
    std::reverse(of_links_.begin() + before, of_links_.end());
  }

 private:
  const Path& path_;
  size_t next_ = 0;
  std::vector<std::string_view> of_links_;  // the next one last
};

// What one layer alone has at a path, following its symbolic links, the last one too.
enum class Kind { kAbsent, kDirectory, kOther };
struct Found {
  Kind kind = Kind::kAbsent;
  uint32_t inode = 0;
};

Result<Found> find_in_layer(const LayerTree& layer, const Path& path, Spent& spent) {
  constexpr Found kOther{.kind = Kind::kOther, .inode = 0};
  Walk walk(path);
  std::vector<uint32_t> stack = {0};
  int links = 0;
  size_t steps = 0;
  while (!walk.at_end()) {
    const auto part = walk.take();
    if (++steps > kMaxSteps) return kOther;
    const auto& directory = layer.inodes[stack.back()];
    RUNNEL_DO(spent.steps(steps_in(directory)));
    if (part == "..") {
      if (stack.size() > 1) stack.pop_back();
      continue;
    }
    const auto* entry = find_entry(directory, part);
    if (entry == nullptr) return Found{};
    if (entry->inode == kWhiteout) return kOther;
    const auto& inode = layer.inodes[entry->inode];
    if (S_ISLNK(inode.mode)) {
      if (++links > kMaxLinks) return kOther;
      RUNNEL_DO(spent.steps(inode.symlink_target.size() / kTargetBytesAStep));
      if (inode.symlink_target.starts_with('/')) stack.resize(1);
      walk.go_through(inode.symlink_target);
      continue;
    }
    if (!S_ISDIR(inode.mode)) return kOther;
    stack.push_back(entry->inode);
  }
  return Found{.kind = Kind::kDirectory, .inode = stack.back()};
}

// Of xattrs, `to` keeps those that `from` has none of.
void copy_attributes(const erofs::Inode& from, erofs::Inode& to) {
  to.mode = from.mode;
  to.uid = from.uid;
  to.gid = from.gid;
  to.mtime_s = from.mtime_s;
  to.mtime_ns = from.mtime_ns;
  std::vector<std::string_view> names;
  names.reserve(from.xattrs.size());
  for (const auto& [name, value] : from.xattrs) names.push_back(name);
  std::ranges::sort(names);
  std::erase_if(to.xattrs, [&](const auto& own) {
    return std::ranges::binary_search(names, std::string_view(own.first));
  });
  to.xattrs.insert(to.xattrs.end(), from.xattrs.begin(), from.xattrs.end());
}

// The name of each directory, by inode (the root has none).
std::vector<std::string_view> directory_names(const LayerTree& layer) {
  std::vector<std::string_view> names(layer.inodes.size());
  for (const auto& inode : layer.inodes) {
    for (const auto& entry : inode.entries) names[entry.inode] = entry.name;
  }
  return names;
}

Path path_of(const LayerTree& layer, const std::vector<std::string_view>& names, uint32_t inode) {
  Path path;
  for (; inode != 0; inode = layer.inodes[inode].parent) path.push_back(names[inode]);
  std::ranges::reverse(path);
  return path;
}

uint64_t xattr_bytes(const erofs::Inode& inode) {
  uint64_t bytes = 0;
  for (const auto& [name, value] : inode.xattrs)
    bytes += kXattrOverhead + name.size() + value.size();
  return bytes;
}

// Gives the implied directories of layer `k` what lower layers say, in preorder, so that a layer
// above sees them finished.
Result<void> resolve_implied(std::vector<MergeLayer>& layers, size_t k, Spent& spent) {
  LayerTree& layer = layers[k].tree;
  const auto names = directory_names(layer);
  for (uint32_t i = 1; i < layer.inodes.size(); ++i) {
    if ((layer.flags[i] & kImplied) == 0) continue;
    const Path path = path_of(layer, names, i);
    RUNNEL_DO(spent.steps(path.size()));
    for (size_t below = k; below-- > 0;) {
      RUNNEL_TRY(const Found found, find_in_layer(layers[below].tree, path, spent));
      if (found.kind == Kind::kAbsent) continue;
      if (found.kind == Kind::kDirectory) {
        const auto& from = layers[below].tree.inodes[found.inode];
        RUNNEL_DO(spent.xattr_bytes(xattr_bytes(from)));
        copy_attributes(from, layer.inodes[i]);
      }
      break;
    }
  }
  return {};
}

class Merger {
 public:
  // The implied directories of the layers are resolved.
  explicit Merger(std::vector<MergeLayer> layers) : layers_(std::move(layers)) {
    // At most so many are left, and growing would have them in the memory twice.
    size_t inodes = 1;
    for (const auto& layer : layers_) {
      moved_.emplace_back(layer.tree.inodes.size(), kNotMoved);
      inodes += layer.tree.inodes.size();
    }
    out_.inodes.reserve(inodes);
  }

  erofs::Tree run() {
    erofs::Inode root;
    root.mode = S_IFDIR | 0755;
    out_.inodes.push_back(std::move(root));

    Directory top{.inode = 0, .sources = {}};
    for (size_t k = layers_.size(); k-- > 0;) top.sources.push_back({k, 0});
    pending_.push_back(std::move(top));
    while (!pending_.empty()) {
      const Directory directory = std::move(pending_.back());
      pending_.pop_back();
      merge_entries(directory);
    }
    return std::move(out_);
  }

 private:
  static constexpr uint32_t kNotMoved = UINT32_MAX;

  struct Source {
    size_t layer;
    uint32_t inode;
  };
  // A merged directory and the layers' directories that make it, uppermost first.
  struct Directory {
    uint32_t inode;
    std::vector<Source> sources;
  };
  // What is known of a name while its layers are looked through from the top.
  struct Name {
    std::vector<Source> sources;
    bool decided = false;  // nothing below can add to it
  };

  void merge_entries(const Directory& directory) {
    std::map<std::string_view, Name> names;
    for (const Source source : directory.sources) {
      for (const auto& entry : layers_[source.layer].tree.inodes[source.inode].entries) {
        add(names[entry.name], {source.layer, entry.inode});
      }
    }
    for (auto& [name, found] : names) {
      if (found.sources.empty()) continue;
      const uint32_t inode = place(found, directory.inode);
      out_.inodes[directory.inode].entries.push_back({std::string(name), inode});
    }
    names.clear();
    // Nobody asks for them again, and there may be half a million names.
    for (const Source source : directory.sources) {
      layers_[source.layer].tree.inodes[source.inode].entries = {};
    }
  }

  void add(Name& name, Source source) {
    if (name.decided) return;
    if (source.inode == kWhiteout) {
      name.decided = true;
      return;
    }
    const LayerTree& tree = layers_[source.layer].tree;
    const bool directory = S_ISDIR(tree.inodes[source.inode].mode);
    if (directory || name.sources.empty()) name.sources.push_back(source);
    name.decided = !directory || (tree.flags[source.inode] & kOpaque) != 0;
  }

  uint32_t place(Name& name, uint32_t parent) {
    const Source top = name.sources.front();
    uint32_t& moved = moved_[top.layer][top.inode];
    if (moved != kNotMoved) return moved;  // another name of the same file
    moved = static_cast<uint32_t>(out_.inodes.size());
    erofs::Inode& from = layers_[top.layer].tree.inodes[top.inode];
    erofs::Inode inode;
    if (S_ISDIR(from.mode)) {
      copy_attributes(from, inode);
      inode.parent = parent;
      pending_.push_back({.inode = moved, .sources = std::move(name.sources)});
    } else {
      inode = std::move(from);
      for (auto& extent : inode.extents) extent.device = layers_[top.layer].slot;
    }
    out_.inodes.push_back(std::move(inode));
    return moved;
  }

  std::vector<MergeLayer> layers_;
  std::vector<std::vector<uint32_t>> moved_;  // layer, inode -> merged inode
  std::vector<Directory> pending_;
  erofs::Tree out_;
};

}  // namespace

Result<erofs::Tree> merge(std::vector<MergeLayer> layers, const MergeLimits& limits) {
  Spent spent(limits);
  for (size_t k = 0; k < layers.size(); ++k) RUNNEL_DO(resolve_implied(layers, k, spent));
  return Merger(std::move(layers)).run();
}

}  // namespace runnel::artifact
