// Named points at which a test makes a disk fail.
#pragma once

#include <functional>
#include <string_view>

namespace runnel::cache {

// The errno that the system call at `point` shall fail with, 0 for none; asked before the call. The
// points: "write", "fdatasync", "bits". One load of an atomic when no test has set anything.
int fault(std::string_view point);

// Tests only; an empty function takes the faults away. Must not be called while layers work.
void set_faults(std::function<int(std::string_view point)> faults);

}  // namespace runnel::cache
