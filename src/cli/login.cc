#include <boost/json.hpp>

#include "cli/cli.h"
#include "cli/control_socket.h"
#include "cli/report.h"
#include "cli/secret_input.h"

namespace runnel::cli {

namespace json = boost::json;

int login(const LoginOptions& options) {
  auto secret = read_secret();
  if (!secret) return report(secret.error());
  const json::object request{
      {"host", options.host}, {"user", options.user}, {"secret", *std::move(secret)}};
  const auto done = ask_node(options.control, "POST", "/login", json::serialize(request));
  if (!done) return report(done.error());
  fmt::print("this node is logged in to {} as {}\n", options.host, options.user);
  return 0;
}

int logout(const LoginOptions& options) {
  const json::object request{{"host", options.host}};
  const auto done = ask_node(options.control, "POST", "/logout", json::serialize(request));
  if (!done) return report(done.error());
  fmt::print("this node has no password for {} any more\n", options.host);
  return 0;
}

}  // namespace runnel::cli
