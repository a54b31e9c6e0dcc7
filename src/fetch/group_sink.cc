#include "fetch/group_sink.h"

#include <algorithm>

#include "remote/header_values.h"

namespace runnel::fetch {

namespace {

constexpr size_t kMaxRefusalBytes = 16 << 10;
// A server that ignores ranges: what is read and dropped to come to the right place.
constexpr uint64_t kCheapToSkip = 1 << 20;

}  // namespace

GroupSink::GroupSink(Pieces pieces, Complete complete)
    : pieces_(std::move(pieces)),
      complete_(std::move(complete)),
      name_(pieces_.front()->blob->name()),
      start_(pieces_.front()->next()),
      end_(pieces_.back()->end()),
      size_(pieces_.front()->blob->size) {}

std::string GroupSink::range() const {
  return fmt::format("bytes={}-{}", start_, end_ - 1);
}

Result<void> GroupSink::head(const net::ResponseHead& head) {
  has_head_ = true;
  head_at_ = std::chrono::steady_clock::now();
  heard_at_ = head_at_;
  if (head.status == 206) return check_part(head);
  if (head.status == 200) return check_whole(head);
  refused_ = true;
  return {};
}

Result<void> GroupSink::check_part(const net::ResponseHead& head) {
  const auto text = head.headers.first("Content-Range").value_or("");
  const auto given = remote::parse_content_range(text);
  const bool as_asked = given && given->first == start_ && given->last == end_ - 1 &&
                        (!given->total || *given->total == size_);
  if (as_asked) return {};
  return fail(Code::kUnavailable, "{}: asked for {} of {} and got Content-Range \"{}\"", name_,
              range(), size_, text.substr(0, 80));
}

Result<void> GroupSink::check_whole(const net::ResponseHead& head) {
  const auto length = remote::parse_decimal(head.headers.first("Content-Length").value_or(""));
  if (length != size_)
    return fail(Code::kUnavailable, "{}: it has {} bytes by its descriptor, not {}", name_, size_,
                head.headers.first("Content-Length").value_or("an unknown number"));
  if (start_ > kCheapToSkip)
    return fail(Code::kUnsupported, "{}: the server ignores ranges", name_);
  skip_ = start_;
  return {};
}

Result<void> GroupSink::data(Bytes bytes) {
  if (refused_) {
    const size_t kept = std::min(kMaxRefusalBytes - refusal_.size(), bytes.size());
    refusal_.insert(refusal_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(kept));
    return {};
  }
  const auto skipped = static_cast<size_t>(std::min<uint64_t>(skip_, bytes.size()));
  skip_ -= skipped;
  bytes = bytes.subspan(skipped);
  while (!bytes.empty()) {
    // Nothing behind the range is wanted, be it the rest of a whole blob or nonsense.
    if (is_complete()) return fail(Code::kCancelled, "{}: all bytes are here", name_);
    const auto& piece = pieces_[at_];
    if (piece->data.capacity() == 0) piece->data.reserve(piece->length);
    const auto count =
        static_cast<size_t>(std::min<uint64_t>(piece->length - piece->data.size(), bytes.size()));
    piece->data.insert(piece->data.end(), bytes.begin(),
                       bytes.begin() + static_cast<ptrdiff_t>(count));
    bytes = bytes.subspan(count);
    heard_at_ = std::chrono::steady_clock::now();
    piece->blob->heard_at = heard_at_.load();
    if (piece->data.size() < piece->length) continue;
    ++at_;
    complete_(piece);
  }
  return {};
}

}  // namespace runnel::fetch
