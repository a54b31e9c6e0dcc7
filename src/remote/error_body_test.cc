#include "remote/error_body.h"

#include <gtest/gtest.h>

namespace runnel::remote {
namespace {

TEST(ErrorBody, SaysWhatTheRegistrySaid) {
  EXPECT_EQ(error_text(as_bytes(R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here",)"
                                R"("detail":{"Tag":"x"}},{"code":"DENIED"},{"message":"m"}]})"),
                       "application/json; charset=utf-8"),
            "MANIFEST_UNKNOWN: not here; DENIED; m");
  EXPECT_EQ(error_text(as_bytes("slow down\n"), "text/plain"), "slow down");
}

TEST(ErrorBody, IsBoundedAndPrintable) {
  const std::string text = error_text(as_bytes(std::string(10'000, 'x')), "text/plain");
  EXPECT_EQ(text.size(), 500u);
  EXPECT_EQ(error_text(as_bytes("a\x1b[31mb"), "text/plain"), "a [31mb");
}

TEST(ErrorBody, IsSilentAboutPagesAndBrokenDocuments) {
  for (const char* body :
       {"", "<html>502</html>", "{", "[]", R"({"errors": {}})", R"({"errors": [1, "x", {}]})"})
    EXPECT_EQ(error_text(as_bytes(body), "text/html"), "") << body;
}

TEST(ErrorBody, StatusesBecomeCodesACallerCanActOn) {
  EXPECT_EQ(code_of_status(401), Code::kDenied);
  EXPECT_EQ(code_of_status(403), Code::kDenied);
  EXPECT_EQ(code_of_status(404), Code::kNotFound);
  EXPECT_EQ(code_of_status(400), Code::kInvalid);
  EXPECT_EQ(code_of_status(429), Code::kUnavailable);
  EXPECT_EQ(code_of_status(503), Code::kUnavailable);
  EXPECT_EQ(code_of_status(501), Code::kUnsupported);
  EXPECT_EQ(code_of_status(599), Code::kUnavailable);
}

}  // namespace
}  // namespace runnel::remote
