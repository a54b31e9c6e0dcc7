#include "engine/joined_read.h"

#include <algorithm>
#include <mutex>
#include <optional>

namespace runnel::engine {

namespace {

struct Joined {
  std::mutex mutex;
  Buffer out;  // holes are zeros; each other part has one writer
  size_t missing = 1;
  std::optional<Error> error;
  std::function<void(const Result<Bytes>&)> done;

  // The last one ends the read.
  void arrive() {
    {
      const std::lock_guard lock(mutex);
      if (--missing > 0) return;
    }
    if (error) return done(std::unexpected(*error));
    done(Bytes(out));
  }

  void put(uint64_t at, const Result<Bytes>& bytes) {
    if (bytes) {
      std::ranges::copy(*bytes, out.begin() + static_cast<ptrdiff_t>(at));
    } else {
      const std::lock_guard lock(mutex);
      if (!error) error = bytes.error();
    }
    arrive();
  }
};

}  // namespace

void read_joined(const std::vector<Piece>& pieces,
                 const std::vector<std::shared_ptr<const LayerFile>>& files, const Patience& until,
                 std::function<void(const Result<Bytes>&)> done) {
  const auto joined = std::make_shared<Joined>();
  joined->done = std::move(done);
  uint64_t size = 0;
  for (const auto& piece : pieces) {
    size += piece.length;
    if (piece.layer) ++joined->missing;
  }
  joined->out.resize(size);
  uint64_t at = 0;
  for (const auto& piece : pieces) {
    if (piece.layer) {
      auto& layer = *files[*piece.layer]->layer;
      const auto put = [joined, at](const Result<cache::ReadBytes>& read) {
        joined->put(at, cache::bytes_of(read));
      };
      const MutableBytes here = MutableBytes(joined->out).subspan(at, piece.length);
      if (piece.device_offset + piece.length > layer.size()) {
        put(fail(Code::kInvalid, "a file reaches past its layer"));
      } else if (layer.read_now(piece.device_offset, here)) {
        joined->arrive();
      } else {
        layer.read(piece.device_offset, piece.length, fetch::Priority::kDemand, until.reader, put,
                   until.fetch);
      }
    }
    at += piece.length;
  }
  joined->arrive();
}

}  // namespace runnel::engine
