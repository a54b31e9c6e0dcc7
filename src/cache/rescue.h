// A layer's second source: the original layer that its blob was made from, for when the blob is
// gone, lies, or keeps failing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "artifact/chunk_restorer.h"
#include "artifact/chunk_table.h"
#include "base/clock.h"
#include "base/error.h"
#include "fetch/range_source.h"
#include "oci/digest.h"

namespace runnel::cache {

// The layer as one repository has it.
struct Original {
  std::string name;     // of the repository, for messages: "host/name"
  oci::Digest digest;   // compressed
  oci::Digest diff_id;  // plain
  std::shared_ptr<fetch::RangeSource> source;
};

// Downloads the original, lays it out as the converter did, and hands out each chunk in order,
// verified against the table. Blocks; memory is bounded. Ends with the sink's error. `came` hears
// of the bytes that come over the network.
Result<void> restore_from(const Original& original, const artifact::ChunkTable& table,
                          const Clock& clock, artifact::ChunkRestorer::Sink sink,
                          const std::function<void(size_t)>& came);

// When to go over the original, and when to try again. No thread of its own and no I/O; the layer
// guards it.
class Rescue {
 public:
  enum class Cause : uint8_t {
    kSilence,  // the source gives nothing, and may yet
    kLoss,     // it refuses, or what it gives is wrong
  };

  // One of each repository; more are ignored.
  void add(const Original& original);
  const std::vector<Original>& originals() const { return originals_; }
  bool possible() const { return !originals_.empty(); }
  // The host of the first of them, which is tried first; one has to be possible.
  std::string registry() const;

  // While one runs, that one will do: whoever it does not serve asks again. `waited_for`: a reader
  // waits, and not only the fill.
  void want(Cause cause, bool waited_for);
  bool wanted() const { return wanted_; }
  // Whether one that is wanted begins now, as soon as it has a thread; ended() follows.
  bool begin(SteadyTime now);
  // The source gave right bytes.
  void source_worked(SteadyTime now);
  // Begun because of a silence that is over.
  bool pointless() const { return running_ && !loss_ && source_works_; }
  // An error is tried again after 1, 2, 4, … 60 seconds, or 15 when a reader waits, whose own time
  // may be a minute. A good end rests a second too: chunks that a full disk did not keep must not
  // make downloads chase each other.
  void ended(const Result<void>& outcome, SteadyTime now);

  bool running() const { return running_; }
  // The last attempt was refused by every repository, for want of credentials.
  bool denied() const { return denied_; }
  // Somebody may have brought them: what was refused is tried without a rest.
  void credentials_changed();
  // Whether a reader that wants one has to wait for its beginning.
  bool rests(SteadyTime now) const { return !running_ && now < not_before_for_readers_; }
  SteadyTime source_worked_at() const { return source_worked_at_; }
  // Of the last attempt; empty when it was good.
  const std::string& error() const { return error_; }

 private:
  std::vector<Original> originals_;
  bool wanted_ = false;
  bool loss_ = false;
  bool waited_for_ = false;
  bool running_ = false;
  bool denied_ = false;
  bool source_works_ = false;  // since it began
  int failures_ = 0;
  SteadyTime not_before_{};
  SteadyTime not_before_for_readers_{};  // the same or earlier
  SteadyTime source_worked_at_{};
  std::string error_;
};

}  // namespace runnel::cache
