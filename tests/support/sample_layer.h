// A layer for tests: a device image with recognisable bytes, cut into chunks, as a blob of frames.
#pragma once

#include <random>

#include "artifact/chunk_table.h"
#include "base/bytes.h"
#include "codec/sha256.h"
#include "codec/zstd.h"
#include "oci/digest.h"

namespace runnel::test {

struct SampleLayer {
  Buffer device;  // what a reader must see
  Buffer blob;    // what the source holds
  artifact::ChunkTableWriter::Written table;

  // `chunks` chunks of `blocks` blocks each; the bytes depend on `seed`.
  static SampleLayer make(uint32_t chunks, uint32_t blocks, unsigned seed = 1) {
    SampleLayer made;
    std::mt19937 random(seed);
    for (size_t at = 0; at < size_t{chunks} * blocks * artifact::kBlockSize; at += 4) {
      const uint32_t word = random() & 0x0f0f0fff;
      for (int byte = 0; byte < 4; ++byte) {
        made.device.push_back(static_cast<std::byte>(word >> 8 * byte));
      }
    }
    made.cut(blocks);
    return made;
  }

  static SampleLayer of(Buffer device, uint32_t blocks) {
    SampleLayer made;
    made.device = std::move(device);
    made.cut(blocks);
    return made;
  }

  artifact::ChunkTable parse_table() const {
    return artifact::ChunkTable::parse(table.bytes, table.digest).value();
  }
  oci::Digest digest() const { return oci::Digest::of(blob); }

 private:
  void cut(uint32_t blocks) {
    artifact::ChunkTableWriter writer(artifact::kChunkSize);
    codec::ZstdCompressor compressor(3);
    for (size_t at = 0; at < device.size();) {
      const size_t size = std::min<size_t>(blocks * artifact::kBlockSize, device.size() - at);
      const auto plain = Bytes(device).subspan(at, size);
      const auto frame = compressor.compress(plain);
      writer.add(static_cast<uint32_t>(size / artifact::kBlockSize),
                 static_cast<uint32_t>(frame.size()), codec::sha256(plain));
      blob.insert(blob.end(), frame.begin(), frame.end());
      at += size;
    }
    table = writer.finish();
  }
};

}  // namespace runnel::test
