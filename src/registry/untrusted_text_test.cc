// Answers and logs are JSON whatever bytes somebody sent: they are in messages, paths, headers.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "base/fd.h"
#include "registry/journal.h"
#include "registry/reply.h"
#include "support/temp_dir.h"

namespace runnel::registry {
namespace {

namespace json = boost::json;

TEST(UntrustedText, InARefusalLeavesItJson) {
  const auto text = to_json(Refusal(400, "DIGEST_INVALID", "sha256:\xce is not a digest"));

  const auto message = json::parse(text).at("errors").at(0).at("message");
  EXPECT_EQ(message.as_string(), "sha256:\ufffd is not a digest");
}

TEST(UntrustedText, InAJournalLeavesItsLinesJson) {
  const test::TempDir directory;
  const auto path = directory.path() + "/log";
  const auto journal = Journal::open(path).value();

  journal->append(json::serialize(json::object{{"path", "/v2/\xff/\"caf\u00e9\""}}));

  const auto line = json::parse(as_text(read_file(path, 1000).value()));
  EXPECT_EQ(line.at("path").as_string(), "/v2/\ufffd/\"caf\u00e9\"");
}

}  // namespace
}  // namespace runnel::registry
