// Any bytes as the files of an image: guessing ends, and names parts within the files only.
//
// links: startup
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "startup/startup.h"
#include "support/sample_image.h"

// The first byte says what the rest is; each "\0" begins another file that it may name.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr std::string_view kElf =
      "\x7f"
      "ELF\2\1";
  const auto kind = data[0] % 4;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  runnel::test::SampleImage image;
  // An interpreter has to be a program, and any program header will do.
  std::string program(1024, '\0');
  program.replace(0, kElf.size(), kElf);
  program[16] = 2;   // e_type
  program[54] = 56;  // e_phentsize
  program[56] = 1;   // e_phnum
  program[32] = 64;  // e_phoff
  image.file("/bin/python3.11", program).file("/bin/node", program).file("/bin/sh", program);
  constexpr const char* kNames[] = {
      "/app/main", "/app/a.py",      "/app/node_modules/a/package.json", "/lib/python3.11/b.py",
      "/app/c.js", "/etc/ld.so.conf"};
  for (const auto* name : kNames) {
    const auto end = kind == 0 ? rest.size() : std::min(rest.find('\0'), rest.size());
    image.file(name, std::string(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  constexpr const char* kPrograms[] = {"/app/main", "python3.11", "node", "sh"};
  auto files = image.files(1 << 24);

  const auto ranges = runnel::startup::guess(
      {.arguments = {kPrograms[kind], "/app/main"}, .environment = {}, .working_directory = "/app"},
      files);

  RUNNEL_CHECK(ranges.has_value());
  for (const auto& range : *ranges) {
    const auto end = files.size(range.inode);
    RUNNEL_CHECK(range.size > 0 && range.offset < end && range.size <= end - range.offset);
  }
  return 0;
}
