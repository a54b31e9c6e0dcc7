#include "cli/control_socket.h"

#include <gtest/gtest.h>

#include "base/durable.h"
#include "support/temp_dir.h"

namespace runnel::cli {

TEST(ControlSocket, ThatIsMissingIsNamedWithWhatToDo) {
  const test::TempDir directory;
  const auto socket = directory.path() + "/control.sock";

  const auto asked = ask_node(socket, "GET", "/status");

  ASSERT_FALSE(asked);
  EXPECT_TRUE(asked.error().message.starts_with("there is no socket " + socket));
  EXPECT_TRUE(asked.error().message.contains("--control"));
}

TEST(ControlSocket, ThatNobodyListensOnIsAskedForTheNode) {
  const test::TempDir directory;
  const auto socket = directory.path() + "/control.sock";
  ASSERT_TRUE(replace_file(socket, {}));

  const auto asked = ask_node(socket, "GET", "/status");

  ASSERT_FALSE(asked);
  EXPECT_TRUE(asked.error().message.starts_with(socket + ": is the node running?"));
}

}  // namespace runnel::cli
