// The imports that Python runs when it imports a module.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace runnel::startup {

// "import a.b" is {0, "a.b", {}}; "from ..c import d, e" is {2, "c", {"d", "e"}}.
struct PythonImport {
  size_t level = 0;                // of leading dots
  std::string module;              // dotted; may be empty when there are dots
  std::vector<std::string> names;  // what is taken out of it: attributes or submodules

  bool operator==(const PythonImport&) const = default;
};

enum class PythonSource { kModule, kMain };

// In the order of the source. Not those inside functions, nor below "if TYPE_CHECKING:"; those of
// both branches of any other condition; below `if __name__ == "__main__":` only of kMain. Takes any
// bytes; gives at most 4096.
std::vector<PythonImport> python_imports(std::string_view source, PythonSource kind);

}  // namespace runnel::startup
