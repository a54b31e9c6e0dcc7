// What a change of a text file looks like to a person: a unified diff.
#pragma once

#include <string>

namespace runnel::install {

// "" for equal texts. `path` heads it; a file that was not there before is shown as /dev/null.
// Texts of more than a few thousand lines are shown as wholly replaced.
std::string unified_diff(const std::string& path, bool existed, const std::string& before,
                         const std::string& after);

}  // namespace runnel::install
