#include "startup/elf.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <link.h>

#include <algorithm>
#include <cstring>

#include "base/fd.h"

namespace runnel::startup {
namespace {

ReadFile bytes_of(const Buffer& file) {
  return [&file](uint64_t offset, uint64_t size) -> Result<Buffer> {
    const auto from = std::min<uint64_t>(offset, file.size());
    const auto part = Bytes(file).subspan(from, std::min<uint64_t>(size, file.size() - from));
    return Buffer(part.begin(), part.end());
  };
}

Buffer this_program() {
  const auto file = open_file("/proc/self/exe", O_RDONLY).value();
  Buffer bytes(file_size(file.get()).value());
  EXPECT_TRUE(read_exact_at(file.get(), bytes, 0));
  return bytes;
}

// The dynamic linker itself is the oracle: what it loaded for this process.
TEST(Elf, SaysOfThisProgramWhatItsLinkerDid) {
  const auto program = this_program();

  const auto elf = read_elf(bytes_of(program)).value();

  ASSERT_TRUE(elf);
  EXPECT_TRUE(elf->interpreter.starts_with("/lib")) << elf->interpreter;
  std::vector<std::string> loaded;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        const std::string path = info->dlpi_name;
        static_cast<std::vector<std::string>*>(out)->push_back(path.substr(path.rfind('/') + 1));
        return 0;
      },
      &loaded);
  EXPECT_FALSE(elf->needed.empty());
  for (const auto& name : elf->needed)
    EXPECT_NE(std::ranges::find(loaded, name), loaded.end()) << name;
}

TEST(Elf, PartsAreTheTablesAtTheHeadAndWhatIsWritten) {
  const auto program = this_program();
  const auto elf = read_elf(bytes_of(program)).value();
  ASSERT_TRUE(elf);

  ASSERT_GE(elf->linking.size(), 2u);
  EXPECT_EQ(elf->linking.front().offset, 0u);
  uint64_t linking = 0;
  for (const auto& part : elf->linking) linking += part.size;
  uint64_t mapped = 0;
  for (const auto& part : elf->mapped) mapped += part.size;
  EXPECT_LT(linking, mapped / 2) << "code and constants are not among them";
}

TEST(Elf, IsNothingWhenItIsNoProgram) {
  auto program = this_program();
  const auto refused = [](const Buffer& file) { return !read_elf(bytes_of(file)).value(); };

  EXPECT_TRUE(refused({}));
  EXPECT_TRUE(refused(Buffer(100)));
  EXPECT_TRUE(refused(Buffer(program.begin(), program.begin() + 60)));
  Buffer changed = program;
  changed[EI_DATA] = std::byte{ELFDATA2MSB};
  EXPECT_TRUE(refused(changed));
  changed = program;
  changed[EI_CLASS] = std::byte{9};
  EXPECT_TRUE(refused(changed));
  changed = program;
  store_le<uint16_t>(changed.data() + offsetof(Elf64_Ehdr, e_phnum), 60'000);
  EXPECT_TRUE(refused(changed));
  changed = program;
  store_le<uint64_t>(changed.data() + offsetof(Elf64_Ehdr, e_phoff), ~uint64_t{0} - 8);
  EXPECT_TRUE(refused(changed));
}

TEST(Elf, WithNonsenseInItsDynamicSectionNeedsNothing) {
  auto program = this_program();
  const auto header = [&] {
    Elf64_Ehdr out;
    std::memcpy(&out, program.data(), sizeof out);
    return out;
  }();
  for (size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, program.data() + header.e_phoff + i * sizeof segment, sizeof segment);
    if (segment.p_type != PT_DYNAMIC) continue;
    for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= segment.p_filesz; at += sizeof(Elf64_Dyn)) {
      const auto tag = load_le<int64_t>(program.data() + segment.p_offset + at);
      if (tag == DT_STRTAB) store_le(program.data() + segment.p_offset + at + 8, ~uint64_t{0});
    }
  }

  const auto elf = read_elf(bytes_of(program)).value();

  ASSERT_TRUE(elf);
  EXPECT_TRUE(elf->needed.empty());
}

TEST(Elf, PassesOnWhatTheReaderFailsWith) {
  const auto outcome = read_elf(
      [](uint64_t, uint64_t) -> Result<Buffer> { return fail(Code::kUnavailable, "gone"); });

  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace runnel::startup
