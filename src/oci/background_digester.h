// The digest of bytes that come in pieces, taken on a pool while whoever has them goes on.
//
// A hash is a chain, so it takes one thread however many there are; but a thread that decompresses
// and reads an archive besides should not be the one that takes it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "base/bytes.h"
#include "base/worker_pool.h"
#include "oci/digest.h"

namespace runnel::oci {

// One thread uses it. Copies what it is given, 4 MiB at most, and waits when the pool is so far
// behind. The pool's tasks must not wait for whoever uses this.
class BackgroundDigester {
 public:
  // Without a pool it hashes at once. The pool outlives it.
  explicit BackgroundDigester(Algorithm algorithm, WorkerPool* pool = nullptr);
  // Waits for the piece that is being hashed, if any.
  ~BackgroundDigester();
  BackgroundDigester(const BackgroundDigester&) = delete;
  BackgroundDigester& operator=(const BackgroundDigester&) = delete;

  void update(Bytes bytes);
  // The digest of everything since the start or the last finish(); then starts anew.
  Digest finish();

 private:
  void hand_over();
  void hash_pieces();

  WorkerPool* const pool_;
  Digester digester_;  // the task's while there is one
  Buffer piece_;       // being filled
  std::mutex mutex_;   // of what follows
  std::condition_variable changed_;
  std::deque<Buffer> waiting_;
  std::vector<Buffer> free_;
  size_t pieces_ = 0;  // that exist, piece_ included
  bool hashing_ = false;
};

}  // namespace runnel::oci
