#include <sys/stat.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>

#include "base/fd.h"
#include "base/quote.h"
#include "cli/cli.h"
#include "cli/remote_image.h"
#include "cli/report.h"

namespace runnel::cli {

namespace {

namespace json = boost::json;

// Opens what the command names and lets `use` print it.
template <class Use>
int with_image(const ImageOptions& options, Use use) {
  const auto run = [&]() -> Outcome<void> {
    RUNNEL_TRY(const auto reference, typed(oci::Reference::parse(options.reference)));
    const RegistryAccess registries(options.registry);
    auto image = RemoteImage::open(registries, reference);
    const auto used = image ? use(*image) : Result<void>(std::unexpected(image.error()));
    if (!used)
      return std::unexpected(with_advice(used.error(), reference.host).in(reference.to_string()));
    return {};
  };
  const auto done = run();
  return done ? 0 : report(done.error());
}

json::object describe(const RemoteImage& image) {
  const auto& artifact = image.artifact();
  json::array layers;
  for (size_t i = 0; i < artifact.layers.size(); ++i) {
    const auto& layer = artifact.layers[i];
    const auto& record = image.boot().head.layers[i];
    layers.push_back(
        {{"source", layer.source.to_string()},
         {"diff_id", layer.diff_id.to_string()},
         {"blob", layer.blob.to_string()},
         {"blob_bytes", layer.blob_size},
         {"device_bytes", record.device_blocks * artifact::kBlockSize},
         {"slot", record.slot},
         {"chunks", record.slot == 0 ? 0 : image.boot().tables[record.slot - 1].size()}});
  }
  return {{"subject", artifact.subject.digest.to_string()},
          {"artifact_type", artifact.artifact_type},
          {"platform", oci::to_string(artifact.platform)},
          {"producer", artifact.producer},
          {"generation", artifact.generation},
          {"hot_from", artifact.hot},
          {"signed_by", artifact.key_id},
          {"boot", artifact.boot.to_string()},
          {"boot_bytes", artifact.boot_size},
          {"head_bytes", artifact.head_size},
          {"metadata_bytes", image.boot().head.image.size()},
          {"hot_chunks", image.boot().head.hot.size()},
          {"layers", std::move(layers)}};
}

void print_description(const RemoteImage& image) {
  const auto& artifact = image.artifact();
  const auto& head = image.boot().head;
  fmt::print("subject     {}\ntype        {}\nplatform    {}\nproducer    {}\ngeneration  {}\n",
             artifact.subject.digest, artifact.artifact_type, oci::to_string(artifact.platform),
             artifact.producer, artifact.generation);
  fmt::print("signature   {}\n", artifact.key_id.empty() ? "none" : "key " + artifact.key_id);
  fmt::print("boot blob   {} ({}: head {}, tables {}, {} hot chunks{})\n", artifact.boot,
             amount(artifact.boot_size), amount(artifact.head_size), amount(head.tables_size()),
             head.hot.size(), artifact.hot.empty() ? "" : ", " + artifact.hot);
  fmt::print("metadata    {} of EROFS\n", amount(head.image.size()));
  for (size_t i = 0; i < artifact.layers.size(); ++i) {
    const auto& layer = artifact.layers[i];
    const auto& record = head.layers[i];
    fmt::print("layer {:<5} {} ({}", i + 1, layer.blob, amount(layer.blob_size));
    if (record.slot != 0) {
      const auto& table = image.boot().tables[record.slot - 1];
      fmt::print(", {} plain in {} chunks of at most {}", amount(table.device_size()), table.size(),
                 amount(table.chunk_max()));
    }
    fmt::print(")\n            from {}\n", layer.source);
  }
}

std::string mode_text(uint32_t mode) {
  static constexpr std::pair<uint32_t, char> kTypes[] = {{S_IFDIR, 'd'}, {S_IFLNK, 'l'},
                                                         {S_IFCHR, 'c'}, {S_IFBLK, 'b'},
                                                         {S_IFIFO, 'p'}, {S_IFSOCK, 's'}};
  std::string text(1, '-');
  for (const auto& [type, letter] : kTypes) {
    if ((mode & S_IFMT) == type) text[0] = letter;
  }
  static constexpr char kBits[] = "rwxrwxrwx";
  for (int bit = 0; bit < 9; ++bit) text += (mode >> (8 - bit) & 1) != 0 ? kBits[bit] : '-';
  const auto special = [&](size_t at, uint32_t flag, char with, char without) {
    if ((mode & flag) != 0) text[at] = text[at] == 'x' ? with : without;
  };
  special(3, S_ISUID, 's', 'S');
  special(6, S_ISGID, 's', 'S');
  special(9, S_ISVTX, 't', 'T');
  return text;
}

// A name as it is, unless it holds bytes that a terminal would obey.
std::string shown(std::string_view name) {
  const bool plain = std::ranges::all_of(
      name, [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != 0x7f; });
  return plain ? std::string(name) : quote(name);
}

// A name in JSON, which holds UTF-8 only: as it is, or quoted when it is something else.
std::string in_json(std::string_view name) {
  json::error_code wrong;
  json::parse(json::serialize(json::string(name)), wrong);
  return wrong ? quote(name) : std::string(name);
}

Result<void> print_entry(const erofs::Reader& reader, const std::string& name,
                         const erofs::Node& node, bool as_json) {
  std::string target;
  if (node.is_symlink()) {
    RUNNEL_TRY(target, reader.symlink_target(node));
  }
  if (as_json) {
    fmt::print("{}\n", json::serialize(json::object{{"name", in_json(name)},
                                                    {"mode", mode_text(node.disk.mode)},
                                                    {"uid", node.disk.uid},
                                                    {"gid", node.disk.gid},
                                                    {"size", node.disk.size},
                                                    {"mtime", node.disk.mtime_s},
                                                    {"target", in_json(target)}}));
    return {};
  }
  fmt::print("{} {:>5} {:>5} {:>12} {}{}{}\n", mode_text(node.disk.mode), node.disk.uid,
             node.disk.gid, node.disk.size, shown(name), target.empty() ? "" : " -> ",
             target.empty() ? "" : shown(target));
  return {};
}

Result<void> list(const RemoteImage& image, const ImageOptions& options) {
  RUNNEL_TRY(const auto reader, image.reader());
  RUNNEL_TRY(const auto node, reader.resolve(options.path, true));
  if (!node.is_directory()) return print_entry(reader, options.path, node, options.json);
  RUNNEL_TRY(const auto entries, reader.entries(node));
  for (const auto& entry : entries) {
    if (entry.name == "." || entry.name == "..") continue;
    RUNNEL_TRY(const auto child, reader.node(entry.nid));
    RUNNEL_DO(print_entry(reader, std::string(entry.name), child, options.json));
  }
  return {};
}

Result<void> write_file(const RemoteImage& image, const ImageOptions& options) {
  RUNNEL_TRY(const auto reader, image.reader());
  RUNNEL_TRY(const auto node, reader.resolve(options.path, true));
  if (!node.is_regular()) return fail(Code::kInvalid, "{} is not a regular file", options.path);
  return image.read_file(reader, node, [](Bytes bytes) { return write_all(STDOUT_FILENO, bytes); });
}

}  // namespace

int inspect(const ImageOptions& options) {
  return with_image(options, [&](const RemoteImage& image) -> Result<void> {
    if (options.json) {
      fmt::print("{}\n", json::serialize(describe(image)));
    } else {
      print_description(image);
    }
    return {};
  });
}

int ls(const ImageOptions& options) {
  return with_image(options, [&](const RemoteImage& image) { return list(image, options); });
}

int cat(const ImageOptions& options) {
  return with_image(options, [&](const RemoteImage& image) { return write_file(image, options); });
}

}  // namespace runnel::cli
