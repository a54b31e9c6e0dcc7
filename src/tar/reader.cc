// The states, and what ends each:
//
//   kHeader ─▶ kSpecial ─▶ kPadding ─▶ kHeader         a metadata entry: x, g, L, K
//      │
//      ├─▶ kSparseExtension (old GNU) ─┐
//      ├─▶ kSparseText (PAX 1.0) ──────┤
//      └───────────────────────────────┴─▶ kData ─▶ kPadding ─▶ kHeader
//
// Two zero blocks lead from kHeader to kEnd. States whose part is empty are never entered.
#include "tar/reader.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/quote.h"
#include "tar/header.h"
#include "tar/make_entry.h"
#include "tar/pax.h"
#include "tar/sparse.h"

namespace runnel::tar {

class Reader::Machine {
 public:
  explicit Machine(const Limits& limits) : limits_(limits) {}

  Result<void> feed(Bytes input, Handler& handler) {
    while (!error_ && !input.empty()) {
      const auto outcome = step(input, handler);
      if (!outcome) error_ = handler_failed_ ? outcome.error() : located(outcome.error());
    }
    return result();
  }

  Result<void> finish() {
    const bool at_border = state_ == State::kHeader && block_size_ == 0;
    const bool whole = at_border || state_ == State::kPadding || state_ == State::kEnd;
    if (!error_ && !whole)
      error_ = located(Error(Code::kInvalid, fmt::format("the archive is cut short at byte {}{}",
                                                         offset_, lacking())));
    return result();
  }

 private:
  enum class State : uint8_t {
    kHeader,           // collects a header block
    kSpecial,          // collects the text of a PAX header or a GNU long name
    kSparseExtension,  // collects a block of an old GNU sparse map
    kSparseText,       // collects a block of a PAX 1.0 sparse map, out of the entry's data
    kData,             // passes an entry's data on
    kPadding,          // skips to the border of a block
    kEnd,              // ignores everything
  };

  // Takes at least one byte off the front of `input`.
  Result<void> step(Bytes& input, Handler& handler) {
    switch (state_) {
      case State::kHeader:
      case State::kSparseExtension:
      case State::kSparseText: return collect_block(input, handler);
      case State::kSpecial: return collect_special(input, handler);
      case State::kData: return pass_data(input, handler);
      case State::kPadding:
        left_ -= take(input, left_).size();
        if (left_ == 0) state_ = State::kHeader;
        return {};
      case State::kEnd: take(input, input.size()); return {};
    }
    return {};
  }

  Bytes take(Bytes& input, uint64_t at_most) {
    const Bytes taken = input.first(std::min<uint64_t>(input.size(), at_most));
    input = input.subspan(taken.size());
    offset_ += taken.size();
    return taken;
  }

  Result<void> collect_block(Bytes& input, Handler& handler) {
    if (state_ == State::kHeader && block_size_ == 0) header_offset_ = offset_;
    const Bytes taken = take(input, kBlockSize - block_size_);
    std::ranges::copy(taken, block_.begin() + static_cast<ptrdiff_t>(block_size_));
    block_size_ += taken.size();
    if (block_size_ < kBlockSize) return {};
    block_size_ = 0;
    if (state_ == State::kSparseExtension) return on_sparse_extension(handler);
    if (state_ == State::kSparseText) return on_sparse_text(handler);
    return on_header(handler);
  }

  Result<void> on_header(Handler& handler) {
    if (is_zero(block_)) {
      if (after_zero_block_) state_ = State::kEnd;
      after_zero_block_ = true;
      return {};
    }
    if (after_zero_block_)
      return fail(Code::kInvalid, "a single zero block stands before it; the end has two");
    RUNNEL_TRY(Header header, parse_header(block_));
    if (header.size < 0 && !is_header_only(header.type_flag))
      return fail(Code::kInvalid, "its size is negative, {}", header.size);
    switch (header.type_flag) {
      case 'x':
      case 'g':
      case 'L':
      case 'K': return begin_special(std::move(header), handler);
      default: return begin_entry(header, handler);
    }
  }

  // Metadata entries.

  Result<void> begin_special(Header header, Handler& handler) {
    const auto size = static_cast<uint64_t>(header.size);
    if (size > limits_.max_special_size)
      return fail(Code::kExhausted, "its '{}' header has {} bytes, more than {}", header.type_flag,
                  size, limits_.max_special_size);
    special_ = std::move(header);
    special_text_.clear();
    left_ = size;
    state_ = State::kSpecial;
    return left_ > 0 ? Result<void>() : on_special(handler);
  }

  Result<void> collect_special(Bytes& input, Handler& handler) {
    const Bytes taken = take(input, left_);
    special_text_ += as_text(taken);
    left_ -= taken.size();
    return left_ > 0 ? Result<void>() : on_special(handler);
  }

  // A second one of the same kind replaces the first whole, as in Go: PAX records do not add up.
  Result<void> on_special(Handler& handler) {
    skip_padding(static_cast<uint64_t>(special_.size));
    // A GNU name ends at its first NUL.
    std::string name = special_text_.substr(0, special_text_.find('\0'));
    switch (special_.type_flag) {
      case 'L': pending_.long_name = std::move(name); return {};
      case 'K': pending_.long_link = std::move(name); return {};
      case 'g': return on_global_header(handler);
      default: {
        RUNNEL_TRY(pending_.pax, PaxRecords::parse(special_text_));
        return {};
      }
    }
  }

  // Go hands it on as an entry and forgets what metadata came before it; see EntryType.
  Result<void> on_global_header(Handler& handler) {
    pending_ = {};
    RUNNEL_TRY(const PaxRecords records, PaxRecords::parse(special_text_));
    Entry entry;
    entry.type = EntryType::kGlobalHeader;
    entry.type_flag = 'g';
    entry.name = records.get("path").empty() ? special_.name : records.get("path");
    RUNNEL_DO(check_names(entry));
    RUNNEL_DO(from_handler(handler.entry(entry)));
    RUNNEL_DO(from_handler(handler.entry_end()));
    ++entries_;
    return {};
  }

  // Entries.

  Result<void> begin_entry(const Header& header, Handler& handler) {
    const Pending pending = std::exchange(pending_, {});
    entry_.name = header.name;  // what an error can call it
    RUNNEL_TRY(entry_, make_entry(header, pending));
    left_ = stored_ = entry_.size;
    sparse_.reset();
    sparse_text_.reset();
    if (header.type_flag == 'S') return begin_old_gnu_sparse(header, handler);
    const PaxSparse kind = pax_sparse_of(pending.pax);
    if (kind == PaxSparse::kNot) return announce(handler);

    if (!has_content(entry_.type))
      return fail(Code::kInvalid, "it has a sparse map, but is a {}", to_string(entry_.type));
    RUNNEL_DO(apply_pax_sparse(pending.pax, entry_));
    sparse_.emplace(limits_.max_sparse_extents);
    if (kind == PaxSparse::kInRecords) {
      RUNNEL_DO(add_pax_records(pending.pax, *sparse_));
      return announce(handler);
    }
    sparse_text_.emplace(*sparse_, limits_.max_special_size);
    state_ = State::kSparseText;
    return check_sparse_text_block();
  }

  Result<void> begin_old_gnu_sparse(const Header& header, Handler& handler) {
    if (header.dialect != Dialect::kGnu)
      return fail(Code::kInvalid, "it is of type 'S' in a dialect that has no such sparse files");
    RUNNEL_TRY(const int64_t size, old_gnu_real_size(block_));
    if (size < 0) return fail(Code::kInvalid, "its real size is negative, {}", size);
    entry_.size = static_cast<uint64_t>(size);
    sparse_.emplace(limits_.max_sparse_extents);
    extension_size_ = 0;
    RUNNEL_TRY(const bool extended, add_old_gnu_header(block_, *sparse_));
    if (!extended) return announce(handler);
    state_ = State::kSparseExtension;
    return {};
  }

  Result<void> on_sparse_extension(Handler& handler) {
    // Also bounds a chain of blocks without parts.
    extension_size_ += kBlockSize;
    if (extension_size_ > limits_.max_special_size)
      return fail(Code::kExhausted, "its sparse map is longer than {} bytes",
                  limits_.max_special_size);
    RUNNEL_TRY(const bool extended, add_old_gnu_extension(block_, *sparse_));
    return extended ? Result<void>() : announce(handler);
  }

  Result<void> check_sparse_text_block() const {
    if (left_ < kBlockSize)
      return fail(Code::kInvalid, "its sparse map reaches past the end of its data");
    return {};
  }

  Result<void> on_sparse_text(Handler& handler) {
    left_ -= kBlockSize;
    RUNNEL_TRY(const bool complete, sparse_text_->add(block_));
    return complete ? announce(handler) : check_sparse_text_block();
  }

  Result<void> announce(Handler& handler) {
    RUNNEL_DO(check_names(entry_));
    if (sparse_) {
      RUNNEL_TRY(entry_.data_extents, sparse_->check(entry_.size, left_));
    } else if (entry_.size > 0) {
      entry_.data_extents = {{0, entry_.size}};
    }
    extent_ = 0;
    extent_done_ = 0;
    RUNNEL_DO(from_handler(handler.entry(entry_)));
    state_ = State::kData;
    return left_ > 0 ? Result<void>() : end_entry(handler);
  }

  // The extents add up to left_, so that there is always one for the next byte.
  Result<void> pass_data(Bytes& input, Handler& handler) {
    const Extent& extent = entry_.data_extents[extent_];
    const Bytes bytes = take(input, extent.length - extent_done_);
    RUNNEL_DO(from_handler(handler.data(extent.offset + extent_done_, bytes)));
    left_ -= bytes.size();
    extent_done_ += bytes.size();
    if (extent_done_ == extent.length) {
      ++extent_;
      extent_done_ = 0;
    }
    return left_ > 0 ? Result<void>() : end_entry(handler);
  }

  Result<void> end_entry(Handler& handler) {
    ++entries_;
    entry_ = {};
    skip_padding(stored_);
    return from_handler(handler.entry_end());
  }

  void skip_padding(uint64_t size) {
    left_ = round_up(size, kBlockSize) - size;
    state_ = left_ > 0 ? State::kPadding : State::kHeader;
  }

  // Errors.

  Result<void> check_names(const Entry& entry) const {
    const size_t longest = std::max(entry.name.size(), entry.link_name.size());
    if (longest >= limits_.max_name_size)
      return fail(Code::kExhausted, "its name or link has {} bytes, more than {}", longest,
                  limits_.max_name_size - 1);
    return {};
  }

  Result<void> from_handler(Result<void> outcome) {
    handler_failed_ = !outcome;
    return outcome;
  }

  Error located(const Error& error) const {
    const std::string name = entry_.name.empty() ? "" : " " + quote(entry_.name);
    return error.in(
        fmt::format("tar: entry {}{}, whose header is at byte {}", entries_, name, header_offset_));
  }

  std::string lacking() const {
    if (state_ == State::kData) return fmt::format(", {} bytes before its data ends", left_);
    if (state_ == State::kHeader) return ", within a header";
    return ", within a PAX header, long name or sparse map";
  }

  Result<void> result() const {
    if (error_) return std::unexpected(*error_);
    return {};
  }

  const Limits limits_;
  State state_ = State::kHeader;
  std::optional<Error> error_;
  bool handler_failed_ = false;

  uint64_t offset_ = 0;         // bytes taken so far
  uint64_t header_offset_ = 0;  // where the last header began
  uint64_t entries_ = 0;        // ended so far
  uint64_t left_ = 0;           // bytes to come in kSpecial, kSparseText and kData, kPadding

  Block block_ = {};
  size_t block_size_ = 0;  // bytes of it that have come
  bool after_zero_block_ = false;

  Header special_;  // the metadata entry that is being collected
  std::string special_text_;
  Pending pending_;

  Entry entry_;
  uint64_t stored_ = 0;  // bytes that the archive has for entry_, a sparse map's text among them
  std::optional<SparseMap> sparse_;
  std::optional<SparseMapText> sparse_text_;
  uint64_t extension_size_ = 0;
  size_t extent_ = 0;         // of entry_.data_extents, where the next byte goes
  uint64_t extent_done_ = 0;  // bytes of it that have come
};

Reader::Reader(const Limits& limits) : machine_(std::make_unique<Machine>(limits)) {}
Reader::~Reader() = default;

Result<void> Reader::feed(Bytes input, Handler& handler) {
  return machine_->feed(input, handler);
}
Result<void> Reader::finish() {
  return machine_->finish();
}

}  // namespace runnel::tar
