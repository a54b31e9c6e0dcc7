#include "artifact/merge.h"

#include <sys/stat.h>

#include <algorithm>
#include <deque>
#include <map>
#include <string>

namespace runnel::artifact {

namespace {

constexpr int kMaxLinks = 255;
constexpr size_t kMaxSteps = 16384;  // of one path, as when the layers were read

using Path = std::vector<std::string_view>;

const erofs::DirEntry* find_entry(const erofs::Inode& directory, std::string_view name) {
  const auto found = std::ranges::lower_bound(
      directory.entries, name, {}, [](const auto& entry) { return std::string_view(entry.name); });
  if (found == directory.entries.end() || found->name != name) return nullptr;
  return &*found;
}

void push_parts(std::string_view path, std::deque<std::string_view>& front) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const auto slash = path.find('/');
    const auto part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.push_back(part);
    path = slash == std::string_view::npos ? "" : path.substr(slash + 1);
  }
  front.insert(front.begin(), parts.begin(), parts.end());
}

// What one layer alone has at a path, following its symbolic links, the last one too.
enum class Kind { kAbsent, kDirectory, kOther };
struct Found {
  Kind kind = Kind::kAbsent;
  uint32_t inode = 0;
};

Found find_in_layer(const LayerTree& layer, const Path& path) {
  std::deque<std::string_view> rest(path.begin(), path.end());
  std::vector<uint32_t> stack = {0};
  int links = 0;
  size_t steps = 0;
  while (!rest.empty()) {
    const auto part = rest.front();
    rest.pop_front();
    if (++steps > kMaxSteps) return {.kind = Kind::kOther, .inode = 0};
    if (part == "..") {
      if (stack.size() > 1) stack.pop_back();
      continue;
    }
    const auto* entry = find_entry(layer.inodes[stack.back()], part);
    if (entry == nullptr) return {};
    if (entry->inode == kWhiteout) return {.kind = Kind::kOther, .inode = 0};
    const auto& inode = layer.inodes[entry->inode];
    if (S_ISLNK(inode.mode)) {
      if (++links > kMaxLinks) return {.kind = Kind::kOther, .inode = entry->inode};
      if (inode.symlink_target.starts_with('/')) stack.resize(1);
      push_parts(inode.symlink_target, rest);
      continue;
    }
    if (!S_ISDIR(inode.mode)) return {.kind = Kind::kOther, .inode = entry->inode};
    stack.push_back(entry->inode);
  }
  return {.kind = Kind::kDirectory, .inode = stack.back()};
}

void copy_attributes(const erofs::Inode& from, erofs::Inode& to) {
  to.mode = from.mode;
  to.uid = from.uid;
  to.gid = from.gid;
  to.mtime_s = from.mtime_s;
  to.mtime_ns = from.mtime_ns;
  for (const auto& xattr : from.xattrs) {
    std::erase_if(to.xattrs, [&](const auto& own) { return own.first == xattr.first; });
    to.xattrs.push_back(xattr);
  }
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

// Gives the implied directories of layer `k` what lower layers say, in preorder, so that a layer
// above sees them finished.
void resolve_implied(std::vector<MergeLayer>& layers, size_t k) {
  LayerTree& layer = layers[k].tree;
  const auto names = directory_names(layer);
  for (uint32_t i = 1; i < layer.inodes.size(); ++i) {
    if ((layer.flags[i] & kImplied) == 0) continue;
    const Path path = path_of(layer, names, i);
    for (size_t below = k; below-- > 0;) {
      const Found found = find_in_layer(layers[below].tree, path);
      if (found.kind == Kind::kAbsent) continue;
      if (found.kind == Kind::kDirectory) {
        copy_attributes(layers[below].tree.inodes[found.inode], layer.inodes[i]);
      }
      break;
    }
  }
}

class Merger {
 public:
  explicit Merger(std::vector<MergeLayer> layers) : layers_(std::move(layers)) {
    for (size_t k = 0; k < layers_.size(); ++k) {
      resolve_implied(layers_, k);
      moved_.emplace_back(layers_[k].tree.inodes.size(), kNotMoved);
    }
    // At most so many are left, and growing would have them in the memory twice.
    size_t inodes = 1;
    for (const auto& layer : layers_) inodes += layer.tree.inodes.size();
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

erofs::Tree merge(std::vector<MergeLayer> layers) {
  return Merger(std::move(layers)).run();
}

}  // namespace runnel::artifact
