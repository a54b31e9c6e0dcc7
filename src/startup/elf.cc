#include "startup/elf.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

namespace runnel::startup {

namespace {

constexpr size_t kMaxSegments = 256;
constexpr uint64_t kMaxDynamicBytes = 64 << 10;
constexpr size_t kMaxNeeded = 512;
constexpr uint64_t kMaxText = 4096;  // of a name, and of a list of directories

struct Class32 {
  using Header = Elf32_Ehdr;
  using Segment = Elf32_Phdr;
  using Dynamic = Elf32_Dyn;
};
struct Class64 {
  using Header = Elf64_Ehdr;
  using Segment = Elf64_Phdr;
  using Dynamic = Elf64_Dyn;
};

template <class Record>
Record record_at(Bytes bytes, size_t index) {
  Record record;
  std::memcpy(&record, bytes.data() + index * sizeof(Record), sizeof(Record));
  return record;
}

// What the dynamic section says, addresses as they are in memory.
struct Dynamic {
  std::vector<uint64_t> needed;  // in the string table
  std::optional<uint64_t> runpath;
  std::optional<uint64_t> rpath;
  uint64_t strings = 0;
  uint64_t strings_size = 0;
  // Where the tables that the linker reads end, the last of them.
  uint64_t tables_end = 0;
};

template <class Class>
class Parser {
 public:
  Parser(const ReadFile& read, Bytes head) : read_(read), head_(head) {}

  Result<std::optional<ElfFile>> run() {
    RUNNEL_TRY(const bool plausible, read_segments());
    if (!plausible) return std::nullopt;
    for (const auto& segment : segments_) {
      if (segment.p_type == PT_INTERP) {
        RUNNEL_TRY(out_.interpreter, text_at(segment.p_offset, segment.p_filesz));
      }
      if (segment.p_type == PT_LOAD && segment.p_filesz > 0)
        out_.mapped.push_back({segment.p_offset, segment.p_filesz});
    }
    RUNNEL_TRY(const auto dynamic, read_dynamic());
    RUNNEL_DO(read_names(dynamic));
    list_linking(dynamic);
    return std::move(out_);
  }

 private:
  Result<bool> read_segments() {
    if (head_.size() < sizeof(typename Class::Header)) return false;
    const auto header = record_at<typename Class::Header>(head_, 0);
    const bool is_program = header.e_type == ET_EXEC || header.e_type == ET_DYN;
    if (!is_program || header.e_phentsize != sizeof(typename Class::Segment)) return false;
    if (header.e_phnum == 0 || header.e_phnum > kMaxSegments) return false;
    const uint64_t size = uint64_t{header.e_phnum} * sizeof(typename Class::Segment);
    RUNNEL_TRY(const auto bytes, read_(header.e_phoff, size));
    if (bytes.size() != size) return false;
    for (size_t i = 0; i < header.e_phnum; ++i)
      segments_.push_back(record_at<typename Class::Segment>(bytes, i));
    return true;
  }

  Result<Dynamic> read_dynamic() {
    Dynamic out;
    const auto found = std::ranges::find(segments_, PT_DYNAMIC, &Class::Segment::p_type);
    if (found == segments_.end()) return out;
    RUNNEL_TRY(const auto bytes,
               read_(found->p_offset, std::min<uint64_t>(found->p_filesz, kMaxDynamicBytes)));
    for (size_t i = 0; i < bytes.size() / sizeof(typename Class::Dynamic); ++i) {
      const auto entry = record_at<typename Class::Dynamic>(bytes, i);
      if (entry.d_tag == DT_NULL) break;
      take(entry.d_tag, entry.d_un.d_val, out);
    }
    return out;
  }

  static void take(int64_t tag, uint64_t value, Dynamic& out) {
    switch (tag) {
      case DT_NEEDED:
        if (out.needed.size() < kMaxNeeded) out.needed.push_back(value);
        break;
      case DT_RUNPATH: out.runpath = value; break;
      case DT_RPATH: out.rpath = value; break;
      case DT_STRSZ: out.strings_size = value; break;
      case DT_STRTAB: out.strings = value; [[fallthrough]];
      // The end of these is where the next begins, near enough.
      case DT_SYMTAB:
      case DT_GNU_HASH:
      case DT_VERSYM:
      case DT_VERNEED:
      case DT_RELA:
      case DT_REL:
      case DT_JMPREL:
      case DT_INIT: out.tables_end = std::max(out.tables_end, value); break;
      default: break;
    }
  }

  // Nothing when no segment has it in the file.
  std::optional<uint64_t> offset_of(uint64_t address) const {
    for (const auto& segment : segments_) {
      if (segment.p_type != PT_LOAD || address < segment.p_vaddr) continue;
      if (address - segment.p_vaddr < segment.p_filesz)
        return segment.p_offset + (address - segment.p_vaddr);
    }
    return std::nullopt;
  }

  // Up to the first NUL.
  Result<std::string> text_at(uint64_t offset, uint64_t size) {
    RUNNEL_TRY(const auto bytes, read_(offset, std::min(size, kMaxText)));
    const auto text = as_text(bytes);
    const auto end = text.find('\0');
    if (end == std::string_view::npos) return std::string();
    return std::string(text.substr(0, end));
  }

  Result<void> read_names(const Dynamic& dynamic) {
    const auto strings = offset_of(dynamic.strings);
    if (!strings) return {};
    const auto name = [&](uint64_t at) -> Result<std::string> {
      if (at >= dynamic.strings_size) return std::string();
      return text_at(*strings + at, dynamic.strings_size - at);
    };
    for (const uint64_t at : dynamic.needed) {
      RUNNEL_TRY(auto text, name(at));
      if (!text.empty()) out_.needed.push_back(std::move(text));
    }
    if (!dynamic.runpath && !dynamic.rpath) return {};
    RUNNEL_TRY(const auto list, name(dynamic.runpath.value_or(dynamic.rpath.value_or(0))));
    for (size_t at = 0; at <= list.size();) {
      const auto end = std::min(list.find(':', at), list.size());
      if (end > at) out_.search.push_back(list.substr(at, end - at));
      at = end + 1;
    }
    return {};
  }

  // The linker writes to what can be written, and reads the tables, which stand before the code: in
  // a segment of their own, or at the head of the code's.
  void list_linking(const Dynamic& dynamic) {
    for (const auto& segment : segments_) {
      if (segment.p_type != PT_LOAD || segment.p_filesz == 0) continue;
      const bool has_tables = segment.p_offset == 0;
      if (!has_tables && (segment.p_flags & PF_W) == 0) continue;
      uint64_t size = segment.p_filesz;
      if (has_tables && (segment.p_flags & PF_X) != 0)
        size = std::min<uint64_t>(size, offset_of(dynamic.tables_end).value_or(1) + 1);
      out_.linking.push_back({segment.p_offset, size});
    }
  }

  const ReadFile& read_;
  const Bytes head_;
  std::vector<typename Class::Segment> segments_;
  ElfFile out_;
};

}  // namespace

Result<std::optional<ElfFile>> read_elf(const ReadFile& read) {
  RUNNEL_TRY(const auto head, read(0, sizeof(Elf64_Ehdr)));
  if (head.size() < EI_NIDENT || std::memcmp(head.data(), ELFMAG, SELFMAG) != 0)
    return std::nullopt;
  if (head[EI_DATA] != std::byte{ELFDATA2LSB}) return std::nullopt;
  if (head[EI_CLASS] == std::byte{ELFCLASS64}) return Parser<Class64>(read, head).run();
  if (head[EI_CLASS] == std::byte{ELFCLASS32}) return Parser<Class32>(read, head).run();
  return std::nullopt;
}

}  // namespace runnel::startup
