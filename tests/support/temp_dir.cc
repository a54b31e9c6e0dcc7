#include "support/temp_dir.h"

#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace runnel::test {

TempDir::TempDir() {
  const char* parent = std::getenv("TMPDIR");
  path_ = std::string(parent != nullptr ? parent : "/var/tmp") + "/runnel-test.XXXXXX";
  RUNNEL_CHECK(::mkdtemp(path_.data()) != nullptr);
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace runnel::test
