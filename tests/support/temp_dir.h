// A directory of the test's own, removed with everything in it at the end.
#pragma once

#include <string>

namespace runnel::test {

class TempDir {
 public:
  // Under $TMPDIR, or /var/tmp: a disk file system, where sparse files and fsync are real.
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace runnel::test
