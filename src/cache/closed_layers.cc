#include "cache/closed_layers.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/durable.h"
#include "base/fd.h"
#include "base/log.h"
#include "codec/sha256.h"

namespace runnel::cache {

namespace {

constexpr std::string_view kMagic = "RNLCLEAN";
constexpr uint32_t kVersion = 1;
constexpr size_t kDigestSize = 32;
constexpr size_t kHeaderSize = 16;
// Two million layers.
constexpr uint64_t kMaxSize = uint64_t{64} << 20;

using Value = std::array<std::byte, kDigestSize>;

std::string file_in(const std::string& directory) {
  return directory + "/clean";
}

Result<std::set<oci::Digest>> read_closed_layers(const std::string& directory) {
  RUNNEL_TRY(const auto file, read_file(file_in(directory), kMaxSize));
  return parse_closed_layers(file);
}

}  // namespace

Buffer encode_closed_layers(const std::set<oci::Digest>& layers) {
  std::vector<Value> values;
  values.reserve(layers.size());
  for (const auto& layer : layers) {
    if (const auto value = layer.sha256_value()) values.push_back(*value);
  }
  std::ranges::sort(values);
  ByteWriter out;
  out.bytes(as_bytes(kMagic));
  out.u32(kVersion);
  out.u32(static_cast<uint32_t>(values.size()));
  for (const auto& value : values) out.bytes(value);
  auto file = out.take();
  const auto sum = codec::sha256(file);
  file.insert(file.end(), sum.begin(), sum.end());
  return file;
}

Result<std::set<oci::Digest>> parse_closed_layers(Bytes file) {
  const Error wrong(Code::kInvalid, "it is no list of closed layers, or is damaged");
  if (file.size() < kHeaderSize + kDigestSize) return std::unexpected(wrong);
  const Bytes body = file.first(file.size() - kDigestSize);
  if (!std::ranges::equal(codec::sha256(body), file.last(kDigestSize)))
    return std::unexpected(wrong);
  ByteReader in(body, "list of closed layers");
  RUNNEL_TRY(const auto magic, in.bytes(kMagic.size()));
  RUNNEL_TRY(const auto version, in.u32());
  RUNNEL_TRY(const auto count, in.u32());
  if (as_text(magic) != kMagic || version != kVersion || in.remaining() != count * kDigestSize)
    return std::unexpected(wrong);
  std::set<oci::Digest> layers;
  Value before{};
  for (uint32_t i = 0; i < count; ++i) {
    RUNNEL_TRY(const auto bytes, in.bytes(kDigestSize));
    Value value;
    std::ranges::copy(bytes, value.begin());
    if (i > 0 && value <= before) return std::unexpected(wrong);
    before = value;
    layers.insert(layers.end(), oci::Digest::from_sha256(value));
  }
  return layers;
}

Result<std::set<oci::Digest>> take_closed_layers(const std::string& directory) {
  auto layers = read_closed_layers(directory);
  if (!layers && layers.error().code == Code::kNotFound) return std::set<oci::Digest>();
  const auto path = file_in(directory);
  if (!layers) {
    log::warning("{}: {}; what the cache has is hashed before it is believed", path,
                 layers.error().message);
    layers = std::set<oci::Digest>();
  }
  if (::unlink(path.c_str()) != 0) return fail_errno("remove {}", path);
  RUNNEL_DO(sync_directory(directory));
  return layers;
}

Result<void> leave_closed_layers(const std::string& directory,
                                 const std::set<oci::Digest>& layers) {
  return replace_file(file_in(directory), encode_closed_layers(layers));
}

}  // namespace runnel::cache
