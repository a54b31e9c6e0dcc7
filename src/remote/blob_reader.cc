#include "remote/blob_reader.h"

#include <algorithm>

#include "remote/header_values.h"

namespace runnel::remote {

namespace {

// An attempt that brought so much starts the count of failures anew: a large blob over a poor line
// arrives at last, and a server that cuts after every byte does not keep us for ever.
constexpr uint64_t kProgressBytes = 1 << 20;
// Of an attempt that begins when the time is all but over; 0 would mean that there is no end.
constexpr auto kLeastTimeout = std::chrono::milliseconds(1);

}  // namespace

BlobReader::BlobReader(const Exchange& exchange, Call call, Expected expected)
    : exchange_(exchange),
      call_(std::move(call)),
      digest_(std::move(expected.digest)),
      size_(expected.size),
      first_part_(size_ && expected.first_part < *size_ ? expected.first_part : 0),
      deadline_(expected.deadline) {
  if (digest_) digester_.emplace(digest_->algorithm());
}

Result<void> BlobReader::run(const Consume& consume) {
  int failed = 0;
  SteadyTime since = std::chrono::steady_clock::now();
  while (true) {
    const uint64_t before = position_;
    auto outcome = attempt(consume);
    if (outcome && size_ && position_ < *size_) continue;  // the first part
    if (outcome) break;
    if (final_ || outcome.error().code != Code::kUnavailable) return outcome;
    if (deadline_ && std::chrono::steady_clock::now() >= *deadline_) return outcome;
    if (position_ - before >= kProgressBytes) failed = 0;
    if (position_ > before) since = std::chrono::steady_clock::now();
    if (!exchange_.pause(++failed, refusal_ ? &*refusal_ : nullptr, since)) return outcome;
  }
  if (!digester_) return {};
  const oci::Digest received = digester_->finish();
  if (received != *digest_)
    return fail(Code::kInvalid, "{}: the registry sent {} bytes whose digest is {}", where(),
                position_, received);
  return {};
}

Result<void> BlobReader::attempt(const Consume& consume) {
  refusal_.reset();
  if (deadline_) {
    const auto left = *deadline_ - std::chrono::steady_clock::now();
    call_.total_timeout = std::max<Duration>(left, kLeastTimeout);
  }
  const bool first = position_ < first_part_;
  if (first) {
    call_.headers.set("Range", fmt::format("bytes={}-{}", position_, first_part_ - 1));
  } else if (position_ > 0) {
    call_.headers.set("Range", fmt::format("bytes={}-", position_));
  }
  RUNNEL_TRY(OpenAnswer open, exchange_.open(call_));
  if (!open.answer.ok()) {
    refusal_ = std::move(open.answer);
    return exchange_.refused(call_, *refusal_);
  }
  RUNNEL_TRY(uint64_t skip, check_head(open.answer));

  while (true) {
    auto piece = open.body->read();
    if (!piece) return std::unexpected(piece.error().in(where()));
    if (piece->empty()) break;
    const size_t skipped = static_cast<size_t>(std::min<uint64_t>(skip, piece->size()));
    skip -= skipped;
    RUNNEL_DO(take(piece->subspan(skipped), consume));
  }
  const uint64_t end = first ? first_part_ : size_.value_or(0);
  if (position_ < end)
    return fail(Code::kUnavailable, "{}: the answer ended after {} of {} bytes", where(), position_,
                end);
  return {};
}

Result<uint64_t> BlobReader::check_head(const Answer& answer) const {
  if (answer.status == 206) {
    RUNNEL_TRY(const ContentRange range, parse_content_range(answer.header("Content-Range")));
    const bool as_asked = (position_ > 0 || first_part_ > 0) && range.first == position_ &&
                          (!size_ || !range.total || *range.total == *size_);
    if (as_asked) return 0;
    return fail(Code::kInvalid, "{}: asked to go on at byte {} and got Content-Range {}", where(),
                position_, answer.header("Content-Range"));
  }
  const auto length = parse_decimal(answer.header("Content-Length"));
  if (size_ && length && *length != *size_)
    return fail(Code::kInvalid, "{}: it has {} bytes by its descriptor, {} at the registry",
                where(), *size_, *length);
  return position_;  // the server ignored the range: the beginning comes again
}

Result<void> BlobReader::take(Bytes piece, const Consume& consume) {
  if (piece.empty()) return {};
  if (size_ && piece.size() > *size_ - position_)
    return fail(Code::kInvalid, "{}: the registry sends more than its {} bytes", where(), *size_);
  if (digester_) digester_->update(piece);
  position_ += piece.size();
  auto taken = consume(piece);
  final_ = !taken.has_value();
  return taken;
}

}  // namespace runnel::remote
