#include "startup/script.h"

#include <gtest/gtest.h>

namespace runnel::startup {
namespace {

using Words = std::vector<std::string>;

TEST(Script, NamesItsInterpreterAndOneArgument) {
  EXPECT_EQ(interpreter_of("#!/bin/sh\necho"), (Words{"/bin/sh"}));
  EXPECT_EQ(interpreter_of("#! /usr/bin/env  python3 -E \n"),
            (Words{"/usr/bin/env", "python3 -E"}));
  EXPECT_EQ(interpreter_of("#!/bin/sh"), (Words{"/bin/sh"}));
  EXPECT_EQ(interpreter_of("#!\n/bin/sh"), Words{});
  EXPECT_EQ(interpreter_of("#!   "), Words{});
  EXPECT_EQ(interpreter_of("#"), Words{});
  EXPECT_EQ(interpreter_of(""), Words{});
  EXPECT_EQ(interpreter_of("#!" + std::string(1000, 'x')).front().size(), 253u);
}

TEST(Script, NamesTheCommandsThatAShellWouldRun) {
  const auto words = shell_words(
      "#!/bin/sh\n"
      "# grep is not called here\n"
      "set -e\n"
      "if [ \"$1\" = nginx ]; then exec \"$@\"; fi\n"
      "find /docker-entrypoint.d -type f | sort -V | while read -r f; do\n"
      "  . /etc/profile\n"
      "  X=1 sed -i s/a/b/ $f && /usr/bin/awk 1 || echo `id -u`\n"
      "done\n"
      "$COMMAND x; 'quoted' y\n");

  EXPECT_EQ(words.commands, (Words{"set", "fi", "find", "sort", "read", "sed", "/usr/bin/awk",
                                   "echo", "id", "done"}));
  EXPECT_EQ(words.sourced, Words{"/etc/profile"});
}

TEST(Script, OfAnyBytesHasAtMostSoManyWords) {
  std::string script;
  for (int i = 0; i < 1000; ++i) script += "command" + std::to_string(i) + "\n";
  EXPECT_EQ(shell_words(script).commands.size(), 256u);
  EXPECT_TRUE(shell_words("\n\n;;|&&((``").commands.empty());
}

}  // namespace
}  // namespace runnel::startup
