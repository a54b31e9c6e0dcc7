// What the votes of images have in common, for those who ask for it. Whoever may pull an image may
// ask, and merging many large votes takes seconds; so it is done once for the same votes, on a
// thread of its own, before which few wait.
#pragma once

#include <expected>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/shares.h"
#include "base/worker_pool.h"
#include "net/async.h"
#include "registry/profile_votes.h"
#include "registry/reply.h"

namespace runnel::registry {

// Any thread may call any method.
class MergedVotes {
 public:
  static constexpr size_t kMostWaiting = 16;

  // The store must outlive it.
  explicit MergedVotes(meta::MetadataStore& metadata) : metadata_(metadata) {}

  // Of the votes that there are now. 503 when kMostWaiting are asked for already.
  net::awaitable<std::expected<std::shared_ptr<const Voted>, Refusal>> find(std::string repository,
                                                                            oci::Digest image);

 private:
  struct Merged {
    std::vector<int64_t> of;  // versions of the votes
    std::shared_ptr<const Voted> voted;
  };

  std::expected<std::shared_ptr<const Voted>, Refusal> look_up(const std::string& repository,
                                                               const oci::Digest& image);

  meta::MetadataStore& metadata_;
  Shares waiting_{kMostWaiting, kMostWaiting};
  std::map<std::string, Merged> kept_;  // by repository and image; the thread's own
  WorkerPool thread_{1};                // last: its tasks use all of the above
};

}  // namespace runnel::registry
