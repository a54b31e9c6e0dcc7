// `runnel verify`: whether an image's streaming artifacts are what they say.
#pragma once

#include <string>

#include "cli/api_options.h"

namespace runnel::cli {

struct VerifyOptions {
  ApiOptions api;
  std::string image;  // HOST/REPO:TAG, or without the host
  std::string work_directory = "/var/tmp";
  unsigned threads = 2;
};

// Makes the artifacts again and compares; prints what was proved. Fails when something differs.
int verify(const VerifyOptions& options);

}  // namespace runnel::cli
