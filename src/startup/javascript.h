// What Node.js reads to run a script: the modules that it asks for, and what these ask for
// (nodejs.org/api/modules.html, "All together").
#pragma once

#include <set>
#include <string>
#include <vector>

#include "startup/image_files.h"
#include "startup/libraries.h"
#include "startup/reads.h"

namespace runnel::startup {

// Used by one thread, for one start.
class JavaScript {
 public:
  // `path` are the directories of NODE_PATH.
  JavaScript(ImageFiles& files, Reads& reads, Libraries& libraries, std::vector<std::string> path)
      : files_(files), reads_(reads), libraries_(libraries), path_(std::move(path)) {}

  static bool is_interpreter(std::string_view name) { return name == "node" || name == "nodejs"; }

  // `arguments` after the interpreter's name.
  Result<void> start(const std::vector<std::string>& arguments,
                     const std::string& working_directory);

 private:
  using Found = ImageFiles::Found;

  Result<void> run(const Found& script);
  Result<std::optional<Found>> resolve(const std::string& name, const std::string& directory);
  Result<std::optional<Found>> resolve_path(const std::string& path);
  Result<std::optional<Found>> resolve_package(const std::string& root, const std::string& inside);
  // The package.json that decides how a file in this directory is read.
  void add_package_file(const std::string& directory);

  ImageFiles& files_;
  Reads& reads_;
  Libraries& libraries_;
  const std::vector<std::string> path_;
  std::set<uint32_t> seen_;
};

}  // namespace runnel::startup
