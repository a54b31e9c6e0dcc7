#include "support/tar_builder.h"

#include <algorithm>
#include <numeric>

namespace runnel::test {
namespace {

constexpr size_t kBlock = 512;

void put(Buffer& block, size_t offset, size_t size, std::string_view text) {
  const Bytes bytes = as_bytes(text.substr(0, size));
  std::ranges::copy(bytes, block.begin() + static_cast<ptrdiff_t>(offset));
}

void put_octal(Buffer& block, size_t offset, size_t size, uint64_t value) {
  put(block, offset, size, fmt::format("{:0{}o}", value, size - 1));
}

}  // namespace

Buffer tar_header(const TarHeader& header) {
  Buffer block(kBlock);
  put(block, 0, 100, header.name);
  put_octal(block, 100, 8, header.mode);
  put_octal(block, 108, 8, header.uid);
  put_octal(block, 116, 8, header.gid);
  put_octal(block, 124, 12, header.size);
  put_octal(block, 136, 12, header.mtime);
  block[156] = std::byte(header.type);
  put(block, 157, 100, header.link_name);
  put(block, 257, 8, header.magic);
  if (header.magic != kV7Magic) {
    put_octal(block, 329, 8, header.dev_major);
    put_octal(block, 337, 8, header.dev_minor);
  }
  patch_header(block, 0, {});
  return block;
}

void patch_header(Buffer& block, size_t offset, std::string_view bytes) {
  put(block, offset, bytes.size(), bytes);
  put(block, 148, 8, "        ");
  const auto sum = std::accumulate(block.begin(), block.end(), 0u, [](unsigned total, std::byte b) {
    return total + std::to_integer<unsigned>(b);
  });
  put(block, 148, 8, fmt::format("{:06o}", sum));
  block[154] = std::byte{0};
}

std::string pax_record(std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t length = rest;
  while (length != rest + std::to_string(length).size()) ++length;
  return fmt::format("{} {}={}\n", length, key, value);
}

TarBuilder& TarBuilder::add(TarHeader header, std::string_view content) {
  header.size = content.size();
  return raw(tar_header(header)).raw(as_bytes(content)).pad();
}

TarBuilder& TarBuilder::file(std::string name, std::string_view content) {
  TarHeader header;
  header.name = std::move(name);
  return add(header, content);
}

TarBuilder& TarBuilder::directory(std::string name) {
  TarHeader header;
  header.name = std::move(name);
  header.type = '5';
  header.mode = 0755;
  return add(header);
}

TarBuilder& TarBuilder::symlink(std::string name, std::string target) {
  TarHeader header;
  header.name = std::move(name);
  header.type = '2';
  header.mode = 0777;
  header.link_name = std::move(target);
  return add(header);
}

TarBuilder& TarBuilder::hard_link(std::string name, std::string target) {
  TarHeader header;
  header.name = std::move(name);
  header.type = '1';
  header.link_name = std::move(target);
  return add(header);
}

TarBuilder& TarBuilder::pax(const PaxList& records, char type) {
  std::string text;
  for (const auto& [key, value] : records) text += pax_record(key, value);
  TarHeader header;
  header.name = "PaxHeaders/x";
  header.type = type;
  return add(header, text);
}

TarBuilder& TarBuilder::raw(Bytes bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return *this;
}

TarBuilder& TarBuilder::pad() {
  bytes_.resize(round_up(bytes_.size(), kBlock));
  return *this;
}

TarBuilder& TarBuilder::end() {
  bytes_.resize(bytes_.size() + 2 * kBlock);
  return *this;
}

}  // namespace runnel::test
