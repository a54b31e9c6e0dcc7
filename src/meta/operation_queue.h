// The durable queue of conversions: who asked for which image, who works on it, how it ended.
//
// An operation is NotStarted until a worker claims it, Running while the claim holds, and then
// Succeeded, Failed or Canceled for good. A claim has an owner and ends at a time that its owner
// moves on by reporting; what a dead worker had is claimed again by anybody. Of an image there is
// at most one operation that has not ended: a second request joins it.
//
// It does not hold: what a conversion does, or the API's words for it (registry/). Every driver
// passes the suite in tests/support/operation_queue_conformance.h.
//
// As with MetadataStore, every call is one transaction that survives power loss, several processes
// may use one queue, any thread may call, and calls may take 50 ms.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "oci/digest.h"

namespace runnel::meta {

enum class OperationStatus : uint8_t { kNotStarted, kRunning, kSucceeded, kFailed, kCanceled };

constexpr bool is_ongoing(OperationStatus status) {
  return status == OperationStatus::kNotStarted || status == OperationStatus::kRunning;
}

// What a person waits for goes before what a push brought about.
enum class OperationPriority : uint8_t { kAutomatic, kPerson };

struct NewOperation {
  std::string repository;
  oci::Digest digest;  // of the image's manifest or index
  OperationPriority priority = OperationPriority::kAutomatic;
  std::string principal;  // who asked: "user:alice", "" without authentication
};

struct Operation {
  int64_t position = 0;  // in the order of their requests; where the next page starts
  std::string id;        // a UUID
  std::string repository;
  oci::Digest digest;
  OperationStatus status = OperationStatus::kNotStarted;
  OperationPriority priority = OperationPriority::kAutomatic;
  std::string principal;
  WallTime created;
  WallTime started;  // the first claim; the epoch before it
  WallTime ended;    // the epoch before
  unsigned percent = 0;
  unsigned attempts = 0;  // claims so far
  std::string code;       // of a Failed one: "IMAGE_NOT_RUNNABLE"
  std::string message;    // of a Failed one

  bool operator==(const Operation&) const = default;
};

struct Enqueued {
  Operation operation;
  bool joined = false;  // it was there already
};

struct OperationFilter {
  std::string repository;  // "": of all
  std::optional<OperationStatus> status;
};

// What a worker that has a claim may hold on to: its operation and its own name.
struct Claim {
  std::string operation;
  std::string owner;
};

struct OperationEnd {
  OperationStatus status = OperationStatus::kSucceeded;  // or kFailed
  std::string code;
  std::string message;
};

enum class CancelOutcome : uint8_t {
  kCanceled,
  kEnded,       // it had ended before, one way or another
  kPublishing,  // its result is becoming visible now
  kAbsent,
};

class OperationQueue {
 public:
  virtual ~OperationQueue() = default;

  // Joins the image's operation if it has one that has not ended, and then raises that one's
  // priority to this request's.
  virtual Result<Enqueued> enqueue(const NewOperation& wanted) = 0;

  virtual Result<std::optional<Operation>> operation(std::string_view id) = 0;
  // The image's newest one.
  virtual Result<std::optional<Operation>> last_operation(std::string_view repository,
                                                          const oci::Digest& digest) = 0;
  // Newest first, those before position `before` (the maximum for the first page).
  virtual Result<std::vector<Operation>> operations(const OperationFilter& filter, int64_t before,
                                                    size_t limit) = 0;

  // Takes one that waits, or whose claim is over: the highest priority first, then the oldest.
  // Empty when there is none. The claim holds for `lifetime`. One that is to hold for more than
  // twice that was made before the clock was set back, and is over as well.
  virtual Result<std::optional<Operation>> claim(std::string_view owner, Duration lifetime) = 0;
  // Holds the claim for `lifetime` from now. `percent` never goes back. False when the claim is
  // gone, by a cancellation or because it was over: the owner drops its work.
  virtual Result<bool> report(const Claim& claim, unsigned percent, Duration lifetime) = 0;
  // From now on it cannot be canceled: what the owner made becomes visible. False as above.
  virtual Result<bool> begin_publishing(const Claim& claim, Duration lifetime) = 0;
  // False as above.
  virtual Result<bool> finish(const Claim& claim, const OperationEnd& end) = 0;
  // Gives it back unfinished, for anybody to claim; this attempt does not count. False as above.
  virtual Result<bool> release(const Claim& claim) = 0;

  virtual Result<CancelOutcome> cancel(std::string_view id) = 0;

  // Removes those that ended before `before`; at most `limit`. How many.
  virtual Result<size_t> forget_operations(WallTime before, size_t limit) = 0;
};

// Makes an operation's id: a random UUID (RFC 9562, version 4). Tests make others.
using MakeOperationId = std::function<std::string()>;
std::string random_operation_id();

}  // namespace runnel::meta
