// What the Python interpreter reads before and while it runs a script: the modules that it starts
// with, and those that the script imports, and what these import.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "startup/image_files.h"
#include "startup/libraries.h"
#include "startup/python_source.h"
#include "startup/reads.h"

namespace runnel::startup {

// Used by one thread, for one start.
class Python {
 public:
  Python(ImageFiles& files, Reads& reads, Libraries& libraries)
      : files_(files), reads_(reads), libraries_(libraries) {}

  // Whether that is the name of an interpreter: "python", "python3", "python3.11".
  static bool is_interpreter(std::string_view name);

  // `program` as it was called (a virtual environment is known by that), `interpreter` the file
  // behind it; `arguments` after the program's name; `path` the directories of PYTHONPATH.
  Result<void> start(const std::string& program, const ImageFiles::Found& interpreter,
                     const std::vector<std::string>& arguments,
                     const std::vector<std::string>& path, const std::string& working_directory);

 private:
  struct Module {
    std::string name;       // dotted
    std::string package;    // what its relative imports start from
    std::string directory;  // of a package, where its submodules are
    std::optional<ImageFiles::Found> source;
  };

  void find_library(const std::string& program, const std::string& interpreter);
  std::optional<int> add_library(const std::string& prefix);
  Result<void> read_path_files(const std::string& directory);
  Result<void> run_script(const ImageFiles::Found& script);
  // Imports all of these, and what they import, in the order in which Python would.
  Result<void> import_all(const std::vector<std::string>& names);
  std::vector<std::string> names_of(const std::vector<PythonImport>& imports,
                                    const std::string& package) const;
  // Nothing when it was imported before, is built in, or is not there.
  Result<std::optional<Module>> import_one(const std::string& name);
  Result<std::optional<Module>> open_module(const std::string& directory, const std::string& name);

  ImageFiles& files_;
  Reads& reads_;
  Libraries& libraries_;
  int minor_ = 0;                                // of Python 3
  std::vector<std::string> path_;                // sys.path
  std::map<std::string, std::string> packages_;  // where their submodules are, by name
  std::set<std::string> imported_;
};

}  // namespace runnel::startup
